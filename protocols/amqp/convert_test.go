package amqp

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/selvedge-mq/selvedge/protocols/amqp/message"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/routing"
)

// genNeutral draws a neutral message as any codec may make one.
func genNeutral(t *rapid.T) *routing.Message {
	text := func(name string) string { return rapid.String().Draw(t, name) }
	symbol := func(name string) string { return rapid.StringMatching(`[!-~]{0,20}`).Draw(t, name) }
	time := func(name string) int64 { return rapid.Int64Range(-1<<41, 1<<41).Draw(t, name) }
	m := &routing.Message{
		MessageID: genID(t), CorrelationID: genID(t), To: text("to"), Subject: text("subject"),
		ContentType: symbol("type"), ContentEncoding: symbol("encoding"), UserID: text("user"), Group: text("group"),
		GroupSequence: rapid.Uint32().Draw(t, "sequence"), CreationTime: time("created"), Expiry: time("expiry"),
		Priority: rapid.Uint8().Draw(t, "priority"), Persistent: rapid.Bool().Draw(t, "persistent"),
	}
	if rapid.Bool().Draw(t, "reply") {
		m.ReplyTo = routing.Address{
			Kind: routing.Kind(rapid.Uint8Range(1, 4).Draw(t, "kind")),
			Name: rapid.StringMatching(`[a-z./ é]{1,20}`).Draw(t, "name"),
		}
	}
	for range rapid.IntRange(0, 5).Draw(t, "n") {
		m.Properties = append(m.Properties, routing.Property{Key: text("key"), Value: genProperty(t)})
	}
	for key, v := range map[string]any{"amqp-ma-x-opt-a": "v", "amqp-reply-to-group-id": "g", "amqp-user-id": []byte{0xff}} {
		if rapid.Bool().Draw(t, key) && (key != "amqp-user-id" || m.UserID == "") {
			m.Properties = append(m.Properties, routing.Property{Key: key, Value: v})
		}
	}
	switch m.BodyKind = routing.BodyKind(rapid.Uint8Range(0, 2).Draw(t, "body")); m.BodyKind {
	case routing.BodyBytes:
		m.Body = rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
	case routing.BodyText:
		m.Body = []byte(text("text"))
	case routing.BodyValue:
		m.Body = message.AppendValue(nil, rapid.SampledFrom([]any{
			int32(1), wire.Map{{Key: "a", Value: uint64(1)}}, wire.List{}, wire.Described{Descriptor: uint64(7)}, true,
		}).Draw(t, "value"))
	}
	return m
}

func genID(t *rapid.T) string {
	return rapid.OneOf(
		rapid.String(),
		rapid.StringMatching(`(AMQP_STRING:){0,2}(AMQP_(UUID|ULONG|BINARY):)?[0-9a-f]{0,4}`),
		rapid.Just("AMQP_UUID:00112233-4455-6677-8899-aabbccddeeff"),
		rapid.Just("AMQP_STRING:AMQP_UUID:00112233-4455-6677-8899-aabbccddeeff"),
	).Draw(t, "id")
}

func genProperty(t *rapid.T) any {
	return rapid.OneOf(
		rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.Int64().AsAny(), rapid.Uint64().AsAny(),
		rapid.Float64().AsAny(), rapid.String().AsAny(), rapid.SliceOf(rapid.Byte()).AsAny(),
	).Draw(t, "property")
}

func TestNeutralMessagesComeBackFromAMQP(t *testing.T) {
	byKey := cmpopts.SortSlices(func(a, b routing.Property) bool { return a.Key < b.Key })
	rapid.Check(t, func(t *rapid.T) {
		want := genNeutral(t)
		b, err := Codec{}.Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Codec{}.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if want.Expiry == 0 || want.CreationTime == 0 {
			got.Expiry = want.Expiry
		}
		if diff := cmp.Diff(want, got, byKey, cmpopts.EquateEmpty(), cmpopts.EquateNaNs()); diff != "" {
			t.Fatalf("message (-want +got):\n%s", diff)
		}
	})
}

// sections are the parts of a message that a case sets.
type sections struct {
	header      message.Header
	annotations wire.Map
	properties  message.Properties
	application wire.Map
	body        []byte
}

func (s *sections) append(dst []byte) []byte {
	dst = s.header.Append(dst)
	if s.annotations != nil {
		dst = message.AppendMap(dst, message.CodeMessageAnnotations, s.annotations)
	}
	dst = s.properties.Append(dst)
	if s.application != nil {
		dst = message.AppendMap(dst, message.CodeApplicationProperties, s.application)
	}
	return append(dst, s.body...)
}

// withoutExact returns a message without the properties that say what it was exactly.
func withoutExact(m *routing.Message) *routing.Message {
	c := *m
	c.Properties = nil
	for _, p := range m.Properties {
		switch p.Key {
		case propExact, propForm, propTTL, propJMSType, propJMSDest:
		default:
			c.Properties = append(c.Properties, p)
		}
	}
	return &c
}

func TestDecodeOfEachField(t *testing.T) {
	text := wire.Some[string]
	ms := func(v int64) wire.Optional[wire.Timestamp] { return wire.Some(wire.Timestamp(v)) }
	property := func(key string, v any) []routing.Property { return []routing.Property{{Key: key, Value: v}} }
	for _, c := range []struct {
		name string
		in   sections
		want routing.Message // with priority 4 unless set
	}{
		{"nothing", sections{}, routing.Message{}},
		{"durable and priority", sections{header: message.Header{Durable: true, Priority: wire.Some(uint8(9))}}, routing.Message{Persistent: true, Priority: 9}},
		{"ttl needs a creation time", sections{header: message.Header{TTL: wire.Some(uint32(5))}}, routing.Message{}},
		{"ttl after the creation time", sections{header: message.Header{TTL: wire.Some(uint32(5))}, properties: message.Properties{CreationTime: ms(10)}}, routing.Message{CreationTime: 10, Expiry: 15}},
		{"absolute expiry time wins", sections{header: message.Header{TTL: wire.Some(uint32(5))}, properties: message.Properties{CreationTime: ms(10), AbsoluteExpiryTime: ms(12)}}, routing.Message{CreationTime: 10, Expiry: 12}},
		{"message id, string", sections{properties: message.Properties{MessageID: "ID:1"}}, routing.Message{MessageID: "ID:1"}},
		{"message id, ulong", sections{properties: message.Properties{MessageID: uint64(7)}}, routing.Message{MessageID: "AMQP_ULONG:7"}},
		{"message id, uuid", sections{properties: message.Properties{MessageID: wire.UUID{0xab, 15: 1}}}, routing.Message{MessageID: "AMQP_UUID:ab000000-0000-0000-0000-000000000001"}},
		{"message id, binary", sections{properties: message.Properties{MessageID: []byte{1, 0xfe}}}, routing.Message{MessageID: "AMQP_BINARY:01fe"}},
		{"message id, a string that looks like a ulong", sections{properties: message.Properties{MessageID: "AMQP_ULONG:7"}}, routing.Message{MessageID: "AMQP_STRING:AMQP_ULONG:7"}},
		{"message id, empty", sections{properties: message.Properties{MessageID: ""}}, routing.Message{MessageID: "AMQP_STRING:"}},
		{"correlation id", sections{properties: message.Properties{CorrelationID: uint64(7)}}, routing.Message{CorrelationID: "AMQP_ULONG:7"}},
		{"to, subject, types", sections{properties: message.Properties{To: text("q"), Subject: text("s"), ContentType: "text/plain", ContentEncoding: "gzip"}}, routing.Message{To: "q", Subject: "s", ContentType: "text/plain", ContentEncoding: "gzip"}},
		{"group", sections{properties: message.Properties{GroupID: text("g"), GroupSequence: wire.Some(uint32(3))}}, routing.Message{Group: "g", GroupSequence: 3}},
		{"reply-to group", sections{properties: message.Properties{ReplyToGroupID: text("g")}}, routing.Message{Properties: property("amqp-reply-to-group-id", "g")}},
		{"user id", sections{properties: message.Properties{UserID: []byte("bob")}}, routing.Message{UserID: "bob"}},
		{"user id that is no text", sections{properties: message.Properties{UserID: []byte{0xff}}}, routing.Message{Properties: property("amqp-user-id", []byte{0xff})}},
		{"reply-to with its kind", sections{properties: message.Properties{ReplyTo: text("topic://t")}}, routing.Message{ReplyTo: routing.Topic("t")}},
		{"reply-to without", sections{properties: message.Properties{ReplyTo: text("r")}}, routing.Message{ReplyTo: routing.Queue("r")}},
		{"reply-to of a JMS client", sections{properties: message.Properties{ReplyTo: text("r")}, annotations: wire.Map{{Key: wire.Symbol("x-opt-jms-reply-to"), Value: int8(1)}}}, routing.Message{ReplyTo: routing.Topic("r")}},
		{"reply-to that is no address", sections{properties: message.Properties{ReplyTo: text("a\nb")}}, routing.Message{Properties: property("amqp-reply-to", "a\nb")}},
		{"annotation", sections{annotations: wire.Map{{Key: wire.Symbol("x-opt-a"), Value: int32(1)}}}, routing.Message{Properties: property("amqp-ma-x-opt-a", int64(1))}},
		{"annotations of the JMS mapping are left out", sections{annotations: wire.Map{{Key: wire.Symbol("x-opt-jms-msg-type"), Value: int8(5)}}}, routing.Message{}},
		{"data", sections{body: message.AppendData(nil, []byte("ab"))}, routing.Message{Body: []byte("ab")}},
		{"data, twice", sections{body: message.AppendData(message.AppendData(nil, []byte("a")), []byte("b"))}, routing.Message{Body: []byte("ab")}},
		{"value, string", sections{body: message.AppendValue(nil, "é")}, routing.Message{Body: []byte("é"), BodyKind: routing.BodyText}},
		{"value, binary", sections{body: message.AppendValue(nil, []byte{1})}, routing.Message{Body: []byte{1}}},
		{"value, null", sections{body: message.AppendValue(nil, nil)}, routing.Message{}},
		{"value, number", sections{body: message.AppendValue(nil, int32(1))}, routing.Message{Body: message.AppendValue(nil, int32(1)), BodyKind: routing.BodyValue}},
		{"value, a string that is no UTF-8", sections{body: message.AppendText(nil, "\xff")}, routing.Message{Body: message.AppendText(nil, "\xff"), BodyKind: routing.BodyValue}},
		{"sequence", sections{body: []byte{0, 0x53, 0x76, 0x45}}, routing.Message{Body: []byte{0, 0x53, 0x76, 0x45}, BodyKind: routing.BodyValue}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.want.Priority == 0 {
				c.want.Priority = routing.DefaultPriority
			}
			got, err := Codec{}.Decode(c.in.append(nil))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&c.want, withoutExact(got), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPropertiesOfEachTypeAreKept(t *testing.T) {
	for _, c := range []struct {
		name     string
		in, want any
	}{
		{"null", nil, nil},
		{"boolean", true, true},
		{"ubyte", uint8(1), uint64(1)},
		{"ushort", uint16(1), uint64(1)},
		{"uint", uint32(1), uint64(1)},
		{"ulong", uint64(1), uint64(1)},
		{"byte", int8(-1), int64(-1)},
		{"short", int16(-1), int64(-1)},
		{"int", int32(-1), int64(-1)},
		{"long", int64(-1), int64(-1)},
		{"float", float32(1.5), 1.5},
		{"double", 1.5, 1.5},
		{"char", wire.Char('é'), "é"},
		{"timestamp", wire.Timestamp(7), int64(7)},
		{"uuid", wire.UUID{15: 1}, "00000000-0000-0000-0000-000000000001"},
		{"binary", []byte{1}, []byte{1}},
		{"string", "s", "s"},
		{"symbol", wire.Symbol("s"), "s"},
		{"decimal, encoded", wire.Decimal32{1}, []byte{0x74, 1, 0, 0, 0}},
		{"list, encoded", wire.List{}, []byte{0x45}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := sections{application: wire.Map{{Key: "k", Value: c.in}}}
			got, err := Codec{}.Decode(in.append(nil))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]routing.Property{{Key: "k", Value: c.want}}, withoutExact(got).Properties); diff != "" {
				t.Errorf("property (-want +got):\n%s", diff)
			}
			b, err := Codec{}.Encode(got)
			if err != nil {
				t.Fatal(err)
			}
			again, err := Codec{}.Decode(b)
			if diff := cmp.Diff(got.Properties, again.Properties); diff != "" || err != nil {
				t.Errorf("there and back: %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestEncodeTellsJMSClientsTheKindOfBody(t *testing.T) {
	for _, c := range []struct {
		name string
		in   routing.Message
		body []byte
		kind any
	}{
		{"text is a value", routing.Message{BodyKind: routing.BodyText, Body: []byte("hi")}, message.AppendText(nil, "hi"), int8(5)},
		{"bytes are data", routing.Message{Body: []byte("hi")}, message.AppendData(nil, []byte("hi")), int8(3)},
		{"octets are data", routing.Message{Body: []byte("hi"), ContentType: "application/octet-stream"}, message.AppendData(nil, []byte("hi")), int8(3)},
		{"a content type tells by itself", routing.Message{Body: []byte("{}"), ContentType: "application/json"}, message.AppendData(nil, []byte("{}")), nil},
		{"text that is no UTF-8 is data", routing.Message{BodyKind: routing.BodyText, Body: []byte{0xff}}, message.AppendData(nil, []byte{0xff}), int8(3)},
		{"a value is as it was", routing.Message{BodyKind: routing.BodyValue, Body: message.AppendValue(nil, int32(1))}, message.AppendValue(nil, int32(1)), nil},
		{"a value that is none is data", routing.Message{BodyKind: routing.BodyValue, Body: []byte("x")}, message.AppendData(nil, []byte("x")), int8(3)},
		{"a value that smuggles a footer is data", routing.Message{BodyKind: routing.BodyValue, Body: append(message.AppendValue(nil, nil), 0, 0x53, 0x78, 0xc1, 1, 0)}, message.AppendData(nil, append(message.AppendValue(nil, nil), 0, 0x53, 0x78, 0xc1, 1, 0)), int8(3)},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := Codec{}.Encode(&c.in)
			if err != nil {
				t.Fatal(err)
			}
			s, err := message.Scan(b)
			if err != nil {
				t.Fatal(err)
			}
			annotations, err := s.DecodeMessageAnnotations()
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := annotations.Get("x-opt-jms-msg-type"); got != c.kind {
				t.Errorf("x-opt-jms-msg-type: got %v, want %v", got, c.kind)
			}
			if !bytes.Equal(s.Body, c.body) {
				t.Errorf("body: got % x, want % x", s.Body, c.body)
			}
		})
	}
}

func TestEncodeMakesForeignTextFit(t *testing.T) {
	in := &routing.Message{
		Priority: 4, ContentType: "text/é", Subject: "a\xffb", ReplyTo: routing.Topic("t"), Expiry: 30, CreationTime: 10,
		Properties: []routing.Property{{Key: "k\xff", Value: "v\xff"}, {Key: "amqp-ma-x-opt-jms-msg-type", Value: "5"}},
	}
	b, err := Codec{}.Encode(in)
	if err != nil {
		t.Fatal(err)
	}
	s, err := message.Scan(b)
	if err != nil {
		t.Fatal(err)
	}
	h, err := s.DecodeHeader()
	if want := (message.Header{TTL: wire.Some(uint32(20))}); h != want || err != nil {
		t.Errorf("header: got %v and %v, want %v", h, err, want)
	}
	got, err := Codec{}.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	want := &routing.Message{
		Priority: 4, ContentType: "text/?", Subject: "a\uFFFDb", ReplyTo: routing.Topic("t"), Expiry: 30, CreationTime: 10,
		Properties: []routing.Property{{Key: "k\uFFFD", Value: "v\uFFFD"}, {Key: "amqp-ma-x-opt-jms-msg-type", Value: "5"}},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
}

func TestDecodeRefusesMalformedMessages(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []byte
		want string
	}{
		{"no section", []byte("hello"), "sections of a message"},
		{"a field of the wrong type", []byte{0, 0x53, 0x70, 0xc0, 2, 1, 0x43}, "field durable"},
		{"a key of the wrong type", message.AppendMap(nil, message.CodeApplicationProperties, wire.Map{{Key: wire.Symbol("k")}}), "a key is no string"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := (Codec{}).Decode(c.in); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func FuzzCodec(f *testing.F) {
	in := sections{
		annotations: wire.Map{{Key: wire.Symbol("x-opt-a"), Value: int32(1)}},
		properties:  message.Properties{MessageID: uint64(7), ReplyTo: wire.Some("topic://t"), UserID: []byte{0xff}},
		application: wire.Map{{Key: "k", Value: wire.UUID{}}},
		body:        message.AppendValue(nil, wire.List{int32(1)}),
	}
	f.Add(in.append(nil))
	f.Add(message.AppendText(nil, "x"))
	f.Add([]byte{0, 0x53, 0x76, 0x45})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Codec{}.Decode(b)
		if err != nil {
			return
		}
		own, err := Codec{}.Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Codec{}.Decode(own)
		if err != nil {
			t.Fatalf("own encoding: %v", err)
		}
		if again.MessageID != m.MessageID || again.BodyKind != m.BodyKind || !bytes.Equal(again.Body, m.Body) {
			t.Fatalf("got %+v, want %+v", again, m)
		}
	})
}
