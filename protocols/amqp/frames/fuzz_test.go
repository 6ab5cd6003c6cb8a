package frames

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
)

// FuzzFrame takes whole frames; the golden files seed it with each of the
// performatives.
func FuzzFrame(f *testing.F) {
	for _, c := range readGolden(f) {
		f.Add(c.Bytes)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < HeaderSize {
			return
		}
		h, err := ParseHeader(b)
		if err != nil || int(h.Size) > len(b) {
			return
		}
		_, p, payload, err := decodeFrame(b)
		if err != nil {
			return
		}
		_, again, rest, err := decodeFrame(appendFrame(h, p, payload))
		if err != nil || string(rest) != string(payload) {
			t.Fatalf("own encoding: error %v, payload %x, want %x", err, rest, payload)
		}
		if diff := cmp.Diff(p, again, cmpopts.EquateNaNs()); diff != "" {
			t.Fatalf("own encoding (-want +got):\n%s", diff)
		}
	})
}

func FuzzCommand(f *testing.F) {
	f.Add((&Declare{GlobalID: "x"}).Append(nil))
	f.Add((&Discharge{TxnID: []byte{1}, Fail: true}).Append(nil))
	f.Add(wire.AppendString(nil, "x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeCommand(b)
		var again []byte
		switch {
		case err != nil && c == Command{}:
			return
		case err == nil && c.Declare != nil && c.Discharge == nil:
			again = c.Declare.Append(nil)
		case err == nil && c.Discharge != nil && c.Declare == nil:
			again = c.Discharge.Append(nil)
		default:
			t.Fatalf("got %v and %v", c, err)
		}
		if own, err := DecodeCommand(again); err != nil || !cmp.Equal(c, own, cmpopts.EquateNaNs(), cmpopts.EquateEmpty()) {
			t.Fatalf("own encoding % x: got %v and %v, want %v", again, own, err, c)
		}
	})
}
