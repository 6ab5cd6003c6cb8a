package message

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire/golden"
)

// decoded is all of a message, with its body as bytes.
type decoded struct {
	Header                Header
	DeliveryAnnotations   wire.Map
	MessageAnnotations    wire.Map
	Properties            Properties
	ApplicationProperties wire.Map
	Body                  []byte
	Footer                wire.Map
}

func decodeAll(b []byte) (Message, decoded, error) {
	m, err := Scan(b)
	if err != nil {
		return m, decoded{}, err
	}
	var errs [6]error
	d := decoded{Body: m.Body}
	d.Header, errs[0] = m.DecodeHeader()
	d.DeliveryAnnotations, errs[1] = decodeMap(m.DeliveryAnnotations)
	d.MessageAnnotations, errs[2] = m.DecodeMessageAnnotations()
	d.Properties, errs[3] = m.DecodeProperties()
	d.ApplicationProperties, errs[4] = m.DecodeApplicationProperties()
	d.Footer, errs[5] = decodeMap(m.Footer)
	return m, d, errors.Join(errs[:]...)
}

// append builds the message anew, with the sections that m has.
func (d *decoded) append(m *Message) []byte {
	var b []byte
	if m.Header != nil {
		b = d.Header.Append(b)
	}
	if m.DeliveryAnnotations != nil {
		b = AppendMap(b, CodeDeliveryAnnotations, d.DeliveryAnnotations)
	}
	if m.MessageAnnotations != nil {
		b = AppendMap(b, CodeMessageAnnotations, d.MessageAnnotations)
	}
	if m.Properties != nil {
		b = d.Properties.Append(b)
	}
	if m.ApplicationProperties != nil {
		b = AppendMap(b, CodeApplicationProperties, d.ApplicationProperties)
	}
	b = append(b, d.Body...)
	if m.Footer != nil {
		b = AppendMap(b, CodeFooter, d.Footer)
	}
	return b
}

// show tells where the sections are and what is in them.
func show(m *Message, d *decoded, all []byte) string {
	var s strings.Builder
	next := 0
	for _, p := range []struct {
		name    string
		section []byte
	}{
		{"header", m.Header},
		{"delivery-annotations", m.DeliveryAnnotations},
		{"message-annotations", m.MessageAnnotations},
		{"properties", m.Properties},
		{"application-properties", m.ApplicationProperties},
		{"body", m.Body},
		{"footer", m.Footer},
		{"bare", m.Bare},
	} {
		if p.section != nil {
			start := next
			next += len(p.section)
			if p.name == "bare" {
				start = len(all) - len(p.section)
			}
			if !bytes.HasPrefix(all[start:], p.section) {
				return p.name + " is not where it should be"
			}
			fmt.Fprintf(&s, "%s %d+%d ", p.name, start, len(p.section))
		}
	}
	fmt.Fprintf(&s, "kind %d*%d\n%s", m.Kind, m.BodySections, golden.Show(*d))
	return s.String()
}

func readGolden(tb testing.TB) []golden.Case {
	tb.Helper()
	cases, err := golden.Read("testdata/messages.txt")
	if err != nil {
		tb.Fatal(err)
	}
	return cases
}

// [179] [180] The order of sections, and what may be missing.
func TestMessagesAreWhatTheGoldenFileSays(t *testing.T) {
	for _, c := range readGolden(t) {
		t.Run(c.Name, func(t *testing.T) {
			m, d, err := decodeAll(c.Bytes)
			if c.Error != "" {
				if !errors.Is(err, wire.ErrMalformed) || !strings.Contains(err.Error(), c.Error) {
					t.Fatalf("got error %v, want one with %q", err, c.Error)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.Want, show(&m, &d, c.Bytes)); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
			if got := d.append(&m); !bytes.Equal(got, c.Own) {
				t.Errorf("encoding:\n got % x\nwant % x", got, c.Own)
			}
		})
	}
}

// [181] [187] Whatever header is put in front.
func TestDeliveryKeepsTheBareMessage(t *testing.T) {
	for _, c := range readGolden(t) {
		m, err := Scan(c.Bytes)
		if err != nil {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			h := Header{Durable: true, DeliveryCount: 7}
			parts := m.Delivery(nil, h.Append(nil), m.MessageAnnotations)
			out, err := Scan(bytes.Join(parts, nil))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out.Bare, m.Bare) || !bytes.Equal(out.MessageAnnotations, m.MessageAnnotations) || out.DeliveryAnnotations != nil {
				t.Errorf("got % x, want the annotations and the bare message of % x", bytes.Join(parts, nil), c.Bytes)
			}
			if got, err := out.DecodeHeader(); got != h || err != nil {
				t.Errorf("header: got %v and %v, want %v", got, err, h)
			}
		})
	}
}

func TestBodies(t *testing.T) {
	scan := func(b []byte) *Message {
		m, err := Scan(b)
		if err != nil {
			t.Fatal(err)
		}
		return &m
	}
	if got := string(scan(AppendData(AppendData(nil, []byte("a")), []byte("bc"))).Data()); got != "abc" {
		t.Errorf("two data sections: got %q, want abc", got)
	}
	if m := scan(AppendText(nil, "é")); string(m.Value()) != "\xa1\x02é" || m.Data() != nil {
		t.Errorf("text: got % x and % x", m.Value(), m.Data())
	}
	if m := scan(AppendValue(nil, wire.List{})); string(m.Value()) != "\x45" {
		t.Errorf("value: got % x", m.Value())
	}
	if m := scan(nil); m.Value() != nil || m.Data() != nil || m.Bare != nil {
		t.Errorf("nothing: got %v", m)
	}
}

func TestScanDoesNotAllocate(t *testing.T) {
	b := sample()
	var parts [][]byte
	var header [32]byte
	if got := testing.AllocsPerRun(100, func() {
		m, err := Scan(b)
		if err != nil {
			t.Fatal(err)
		}
		h, err := m.DecodeHeader()
		if err != nil {
			t.Fatal(err)
		}
		h.DeliveryCount++
		parts = m.Delivery(parts[:0], h.Append(header[:0]), m.MessageAnnotations)
	}); got > 1 { // header escapes into the parts
		t.Errorf("got %v allocations, want 1 at most", got)
	}
	if got := testing.AllocsPerRun(100, func() {
		if _, err := Scan(b); err != nil {
			t.Fatal(err)
		}
	}); got != 0 {
		t.Errorf("scan: got %v allocations, want 0", got)
	}
}

func sample() []byte {
	b := (&Header{Durable: true, Priority: wire.Some(uint8(4))}).Append(nil)
	b = AppendMap(b, CodeMessageAnnotations, wire.Map{{Key: wire.Symbol("x-opt-a"), Value: int32(1)}})
	b = (&Properties{MessageID: "m-1", To: wire.Some("queue://orders"), ContentType: "text/plain"}).Append(b)
	b = AppendMap(b, CodeApplicationProperties, wire.Map{{Key: "color", Value: "red"}, {Key: "n", Value: int32(7)}})
	return AppendData(b, make([]byte, 1024))
}

func BenchmarkScan(b *testing.B) {
	b.ReportAllocs()
	msg := sample()
	for b.Loop() {
		if _, err := Scan(msg); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeProperties(b *testing.B) {
	b.ReportAllocs()
	m, err := Scan(sample())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := m.DecodeProperties(); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzScan(f *testing.F) {
	for _, c := range readGolden(f) {
		f.Add(c.Bytes)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, d, err := decodeAll(b)
		if _, serr := Scan(b); serr != nil || err != nil {
			return
		}
		m.Data()
		m.Value()
		n := len(m.Header) + len(m.DeliveryAnnotations) + len(m.MessageAnnotations) + len(m.Properties) +
			len(m.ApplicationProperties) + len(m.Body) + len(m.Footer)
		if n != len(b) {
			t.Fatalf("the sections have %d bytes, want %d", n, len(b))
		}
		again, e, err := decodeAll(d.append(&m))
		if err != nil || again.Kind != m.Kind || again.BodySections != m.BodySections {
			t.Fatalf("own encoding: error %v, body %d*%d, want %d*%d", err, again.Kind, again.BodySections, m.Kind, m.BodySections)
		}
		if diff := cmp.Diff(d, e, cmpopts.EquateNaNs()); diff != "" {
			t.Fatalf("own encoding (-want +got):\n%s", diff)
		}
	})
}
