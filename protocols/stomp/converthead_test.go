package stomp

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/selvedge-mq/selvedge/protocols"
)

// A head alone gives what the whole message gives, but for the body.
func TestCodecConvertsHeadsAsItConvertsMessages(t *testing.T) {
	for _, c := range []struct{ name, head string }{
		{"with a length", "destination:/queue/a\ncontent-length:9000000\ntype:greeting\nx\\cy:z\n\n"},
		{"text without a length", "priority:7\ndestination:/queue/a\n\n"},
		{"no header at all", "\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			const size = 9_000_000
			want, err := Codec{}.Decode([]byte(c.head + "begin of the body"))
			if err != nil {
				t.Fatal(err)
			}
			got, run, err := Codec{}.DecodeHead([]byte(c.head+"begin of the body"), size)
			if err != nil {
				t.Fatal(err)
			}
			want.Body = nil
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if want := (protocols.Run{Offset: int64(len(c.head)), Length: size - int64(len(c.head))}); run != want {
				t.Errorf("got a body at %+v, want %+v", run, want)
			}
			head, err := Codec{}.EncodeHead(got, run.Length)
			if err != nil {
				t.Fatal(err)
			}
			again, run, err := Codec{}.DecodeHead(head, int64(len(head))+run.Length)
			if err != nil {
				t.Fatal(err)
			}
			again.BodyKind = want.BodyKind // the length makes bytes of it
			if diff := cmp.Diff(want, again); diff != "" {
				t.Errorf("encoded and decoded again (-want +got):\n%s", diff)
			}
			if run.Offset != int64(len(head)) {
				t.Errorf("got a body at %d, want it behind the head of %d", run.Offset, len(head))
			}
		})
	}
}

func TestCodecRefusesAHeadWithoutItsEnd(t *testing.T) {
	for _, head := range []string{"", "destination:/queue/a\n", strings.Repeat("a:b\n", 99)} {
		if _, _, err := (Codec{}).DecodeHead([]byte(head), 9_000_000); err == nil {
			t.Errorf("got no error for %q", head)
		}
	}
}
