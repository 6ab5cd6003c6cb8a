package amqp

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/selvedge-mq/selvedge/protocols/amqp/message"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
)

// values is what a message says, whatever its encoding.
type values struct {
	Header      message.Header
	Annotations wire.Map
	Properties  message.Properties
	Application wire.Map
	Body        []any
	Footer      []byte
}

func valuesOf(t *rapid.T, b []byte) values {
	s, err := message.Scan(b)
	if err != nil {
		t.Fatal(err)
	}
	var v values
	v.Header, err = s.DecodeHeader()
	if err != nil {
		t.Fatal(err)
	}
	if v.Annotations, err = s.DecodeMessageAnnotations(); err != nil {
		t.Fatal(err)
	}
	if v.Properties, err = s.DecodeProperties(); err != nil {
		t.Fatal(err)
	}
	if v.Application, err = s.DecodeApplicationProperties(); err != nil {
		t.Fatal(err)
	}
	r := wire.NewReader(s.Body, wire.Limits{})
	for r.Len() > 0 && r.Err() == nil {
		d, ok := r.Value().(wire.Described)
		if !ok {
			t.Fatalf("got a body % x", s.Body)
		}
		v.Body = append(v.Body, d.Value)
	}
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	v.Footer = s.Footer
	return v
}

// genMessage draws a message of AMQP with every section, as producers of the JMS
// mapping send it and as no library would.
func genMessage(t *rapid.T) []byte {
	h := message.Header{Durable: rapid.Bool().Draw(t, "durable")}
	if rapid.Bool().Draw(t, "priority") {
		h.Priority = wire.Some(rapid.Uint8Range(0, 9).Filter(func(p uint8) bool { return p != 4 }).Draw(t, "priority"))
	}
	if rapid.Bool().Draw(t, "ttl") {
		h.TTL = wire.Some(rapid.Uint32().Draw(t, "ttl"))
	}
	b := h.Append(nil)
	var notes wire.Map
	for _, key := range []wire.Symbol{"x-opt-a", "x-opt-b,c=d"} {
		if rapid.Bool().Draw(t, string(key)) {
			notes = append(notes, wire.Entry{Key: key, Value: genValue(1).Draw(t, "note")})
		}
	}
	kind := rapid.Int8Range(-1, 5).Draw(t, "jms type")
	if kind >= 0 {
		notes = append(notes, wire.Entry{Key: jmsMsgType, Value: kind}, wire.Entry{Key: jmsDest, Value: int8(1)})
	}
	if notes != nil {
		b = message.AppendMap(b, message.CodeMessageAnnotations, notes)
	}
	p := message.Properties{
		MessageID:     rapid.SampledFrom([]any{nil, "id", "AMQP_ULONG:1", uint64(7), wire.UUID{1}, []byte{0, 255}}).Draw(t, "id"),
		CorrelationID: rapid.SampledFrom([]any{nil, "id", uint64(7), wire.UUID{1}, []byte{0, 255}}).Draw(t, "correlation"),
		To:            wire.Some("q"), Subject: wire.Some("s"), ContentType: "text/plain",
	}
	if rapid.Bool().Draw(t, "user") {
		p.UserID = []byte{0xff, 1}
	}
	if rapid.Bool().Draw(t, "expiry") {
		p.AbsoluteExpiryTime = wire.Some(wire.Timestamp(rapid.Int64Range(1, 1<<41).Draw(t, "expiry")))
	}
	b = p.Append(b)
	var application wire.Map
	for _, key := range []string{"k", "a=b,c", "destination", "é\n"} {
		if rapid.Bool().Draw(t, key) {
			application = append(application, wire.Entry{Key: key, Value: genValue(1).Draw(t, "property")})
		}
	}
	if application != nil {
		b = message.AppendMap(b, message.CodeApplicationProperties, application)
	}
	switch rapid.IntRange(0, 3).Draw(t, "body") {
	case 0:
		b = message.AppendValue(b, genValue(2).Draw(t, "value"))
	case 1:
		for range rapid.IntRange(1, 3).Draw(t, "sections") {
			b = message.AppendData(b, rapid.SliceOf(rapid.Byte()).Draw(t, "data"))
		}
	case 2:
		b = append(append(b, 0x00, 0x53, 0x76), wire.AppendValue(nil, wire.List{genValue(1).Draw(t, "element")})...)
	default:
	}
	if rapid.Bool().Draw(t, "footer") {
		b = message.AppendMap(b, message.CodeFooter, wire.Map{{Key: wire.Symbol("x-sum"), Value: uint32(1)}})
	}
	return b
}

// byKey orders maps: a message that went through another protocol may have its
// annotations in another order.
var byKey = cmpopts.SortSlices(func(a, b wire.Entry) bool {
	return bytes.Compare(wire.AppendValue(nil, a.Key), wire.AppendValue(nil, b.Key)) < 0
})

// What another protocol carries of a message is enough to make it what it was:
// every type, section and form of body.
func TestMessagesComeBackFromTheNeutralView(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := genMessage(t)
		m, err := Codec{}.Decode(in)
		if err != nil {
			t.Fatal(err)
		}
		out, err := Codec{}.Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		want, got := valuesOf(t, in), valuesOf(t, out)
		if !hasJMSType(want.Annotations) { // it is derived then
			got.Annotations = withoutJMSType(got.Annotations)
		}
		if diff := cmp.Diff(want, got, byKey, cmpopts.EquateEmpty(), cmpopts.EquateNaNs()); diff != "" {
			t.Fatalf("message (-want +got):\n%s", diff)
		}
	})
}

func hasJMSType(m wire.Map) bool {
	_, ok := m.Get(jmsMsgType)
	return ok
}

func withoutJMSType(m wire.Map) wire.Map {
	var rest wire.Map
	for _, e := range m {
		if e.Key != jmsMsgType {
			rest = append(rest, e)
		}
	}
	return rest
}
