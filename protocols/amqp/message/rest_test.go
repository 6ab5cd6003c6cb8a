package message

import (
	"bytes"
	"errors"
	"testing"

	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
)

// What follows the first section of a body is judged as Scan judges the whole message,
// in whatever pieces it comes.
func TestTheRestOfAMessageIsJudgedAsTheWhole(t *testing.T) {
	data := AppendData(nil, bytes.Repeat([]byte("0123456789"), 40))
	value := AppendText(nil, "some text")
	footer := AppendMap(nil, CodeFooter, wire.Map{{Key: wire.Symbol("x-hash"), Value: "y"}})
	spelled := append(wire.AppendSymbol([]byte{0}, "amqp:footer:map"), 0xc1, 1, 0)
	sequence := wire.AppendValue(wire.AppendDescriptor(nil, CodeSequence), wire.List{int32(1)})
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for _, tt := range []struct {
		name    string
		payload []byte
	}{
		{"one data section", data},
		{"several", join(data, data, data)},
		{"a footer", join(data, footer)},
		{"a footer whose descriptor is a symbol", join(data, data, spelled)},
		{"sequences", join(sequence, sequence, footer)},
		{"a value and a footer", join(value, footer)},
		{"an empty section", join(AppendData(nil, nil), data)},
		{"two values", join(value, value)},
		{"sections of two kinds", join(data, sequence)},
		{"data behind the footer", join(data, footer, data)},
		{"two footers", join(data, footer, footer)},
		{"a section in the wrong order", join(data, AppendMap(nil, CodeApplicationProperties, nil))},
		{"noise", join(data, bytes.Repeat([]byte("noise"), 30))},
		{"a little noise", join(data, []byte("noise"))},
		{"data that is a string", join(data, wire.AppendString(wire.AppendDescriptor(nil, CodeData), "x"))},
		{"an end in the first section", data[:len(data)-1]},
		{"an end in a section", join(data, data[:100])},
		{"an end in the head of a section", join(data, data[:4])},
		{"an end in a descriptor", join(data, data[:2])},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, want := Scan(tt.payload)
			h, ok := ScanHead(tt.payload)
			if !ok {
				t.Fatal("got no head")
			}
			for _, size := range []int{1, 2, 3, 7, 100, 1000} {
				r := h.Rest()
				var err error
				for b := tt.payload[h.Offset:]; len(b) > 0 && err == nil; {
					n := min(size, len(b))
					err = r.Take(b[:n])
					b = b[n:]
				}
				if err == nil {
					err = r.End()
				}
				if (err == nil) != (want == nil) {
					t.Errorf("in pieces of %d: got %v, want as of the whole: %v", size, err, want)
				}
				if e, ok := errors.AsType[*wire.Error](err); ok && (e.Offset < h.Offset || e.Offset > len(tt.payload)) {
					t.Errorf("in pieces of %d: got %v, want an offset from %d to %d", size, err, h.Offset, len(tt.payload))
				}
			}
		})
	}
}
