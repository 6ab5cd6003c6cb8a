package stomp

import (
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
)

func TestSTOMP_Connect_03_NegotiatesTheHighestCommonVersion(t *testing.T) {
	for _, c := range []struct {
		name   string
		accept string
		listed bool
		want   frame.Version
		ok     bool
	}{
		{"no list is 1.0", "", false, frame.V10, true},
		{"the order does not matter", "1.2,1.1,1.0", true, frame.V12, true},
		{"unknown versions are skipped", "1.0,1.1,2.0", true, frame.V11, true},
		{"spaces are trimmed", "1.1, 1.2", true, frame.V12, true},
		{"nothing in common", "2.0", true, frame.V10, false},
		{"an empty list", "", true, frame.V10, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := negotiate(c.accept, c.listed)
			if got != c.want || ok != c.ok {
				t.Errorf("got %v %v, want %v %v", got, ok, c.want, c.ok)
			}
		})
	}
}

func TestSTOMP_HeartBeat_10_MirrorsTheClientsWish(t *testing.T) {
	for _, c := range []struct {
		header            string
		offerOut, offerIn int64
		out, in           time.Duration
		fails             bool
	}{
		{header: ""},
		{header: "0,0"},
		{header: "0,10000", offerOut: 10000, out: 10 * time.Second},
		{header: "10000,0", offerIn: 10000, in: 10 * time.Second},
		{header: "100,200", offerOut: 500, offerIn: 500, out: 500 * time.Millisecond, in: 500 * time.Millisecond},
		{header: "60000, 500", offerOut: 500, offerIn: 60000, out: 500 * time.Millisecond, in: time.Minute},
		{header: "2147483647,0", offerIn: 2147483647, in: 2147483647 * time.Millisecond},
		{header: "9223372036854775807,0", offerIn: maxBeat, in: time.Duration(maxBeat) * time.Millisecond},
		{header: "a,b", fails: true},
		{header: "1", fails: true},
		{header: "-1,0", fails: true},
		{header: "1,2,3", fails: true},
	} {
		t.Run(c.header, func(t *testing.T) {
			var b beats
			err := b.negotiate(c.header)
			if (err != nil) != c.fails {
				t.Fatalf("got error %v, want one: %v", err, c.fails)
			}
			want := beats{offerOut: c.offerOut, offerIn: c.offerIn, out: c.out, in: c.in}
			if b != want {
				t.Errorf("got %+v, want %+v", b, want)
			}
		})
	}
}
