package stomp

import (
	"testing"

	"pgregory.net/rapid"
)

func TestTextsAreWhatWasPushed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type text struct {
			at   uint64
			want string
		}
		var all []text
		var got texts
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				s := rapid.StringN(0, 20, 9000).Draw(t, "text")
				if rapid.Bool().Draw(t, "long") {
					s += string(make([]byte, 5000))
				}
				all = append(all, text{got.push([]byte(s)), s})
			},
			"drop": func(t *rapid.T) {
				if len(all) == 0 {
					t.Skip("nothing is there")
				}
				n := rapid.IntRange(1, len(all)).Draw(t, "n")
				last := all[n-1]
				got.drop(last.at + uint64(len(last.want)))
				all = all[n:]
			},
			"release": func(*rapid.T) { got.release() },
			"": func(t *rapid.T) {
				size := 0
				for _, x := range all {
					size += len(x.want)
					if s := string(got.get(x.at, uint64(len(x.want)))); s != x.want {
						t.Fatalf("got %q, want %q", s, x.want)
					}
				}
				if waste := got.len() - size; waste > textsKept+size {
					t.Fatalf("got %d octets that nobody needs beside %d", waste, size)
				}
			},
		})
	})
}
