package amqp

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/selvedge-mq/selvedge/protocols/amqp/message"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/routing"
)

// The neutral view has few types and one body. What a message was beyond that
// stands in these properties, as text that every protocol can carry; a message
// that comes back with them is what it was.
const (
	propExact   = "amqp-exact"    // types of properties and annotations: "count=int,id=uuid"
	propForm    = "amqp-form"     // of the body, see bodyForm
	propTTL     = "amqp-ttl"      // of the header, when the expiry does not say it
	propFooter  = "amqp-footer"   // the section
	propJMSType = "amqp-jms-type" // x-opt-jms-msg-type, when the body does not say it
	propJMSDest = "amqp-jms-dest" // x-opt-jms-dest
)

// formValueBinary is the form of a body that is an amqp-value of a binary.
const formValueBinary = "value-binary"

// exactType names the type of a value that the neutral view makes another; empty
// when it does not. "raw" is a value that has no plain form.
func exactType(v any) string {
	switch v.(type) {
	case nil, bool, string, []byte, int64, uint64, float64:
		return ""
	case uint8:
		return "ubyte"
	case uint16:
		return "ushort"
	case uint32:
		return "uint"
	case int8:
		return "byte"
	case int16:
		return "short"
	case int32:
		return "int"
	case float32:
		return "float"
	case wire.Timestamp:
		return "timestamp"
	case wire.Char:
		return "char"
	case wire.Symbol:
		return "symbol"
	case wire.UUID:
		return "uuid"
	}
	return "raw"
}

// exactValue makes a neutral value, or its text, one of the type again. Whatever
// does not fit stays as it is.
func exactValue(v any, kind string) any {
	switch kind {
	case "ubyte", "ushort", "uint":
		return exactUnsigned(v, kind)
	case "byte", "short", "int", "timestamp":
		return exactSigned(v, kind)
	case "float":
		if f, err := strconv.ParseFloat(fmt.Sprint(v), 32); err == nil {
			return float32(f)
		}
	case "char":
		if r := []rune(fmt.Sprint(v)); len(r) == 1 {
			return wire.Char(r[0])
		}
	case "symbol":
		if s, ok := v.(string); ok && wire.Symbol(s) == ascii(s) {
			return wire.Symbol(s)
		}
	case "uuid":
		if s, ok := v.(string); ok {
			if u, ok := typedID(idUUID + s).(wire.UUID); ok {
				return u
			}
		}
	case "raw":
		return exactRaw(v)
	}
	return v
}

func exactUnsigned(v any, kind string) any {
	bits := map[string]int{"ubyte": 8, "ushort": 16, "uint": 32}[kind]
	n, err := strconv.ParseUint(fmt.Sprint(v), 10, bits)
	switch {
	case err != nil:
		return v
	case bits == 8:
		return uint8(n) //nolint:gosec // parsed with 8 bits
	case bits == 16:
		return uint16(n) //nolint:gosec // parsed with 16 bits
	}
	return uint32(n) //nolint:gosec // parsed with 32 bits
}

func exactSigned(v any, kind string) any {
	bits := map[string]int{"byte": 8, "short": 16, "int": 32, "timestamp": 64}[kind]
	n, err := strconv.ParseInt(fmt.Sprint(v), 10, bits)
	switch {
	case err != nil:
		return v
	case bits == 8:
		return int8(n) //nolint:gosec // parsed with 8 bits
	case bits == 16:
		return int16(n) //nolint:gosec // parsed with 16 bits
	case bits == 32:
		return int32(n) //nolint:gosec // parsed with 32 bits
	}
	return wire.Timestamp(n)
}

// exactRaw decodes a value from its encoding.
func exactRaw(v any) any {
	b, ok := v.([]byte)
	if !ok {
		return v
	}
	r := wire.NewReader(b, wire.Limits{})
	if value := r.Value(); r.Err() == nil && r.Len() == 0 {
		return value
	}
	return v
}

// exact gathers the types of a message's properties.
type exact struct{ text strings.Builder }

func (x *exact) note(key string, v any) {
	if kind := exactType(v); kind != "" {
		if x.text.Len() > 0 {
			x.text.WriteByte(',')
		}
		x.text.WriteString(url.QueryEscape(key) + "=" + kind)
	}
}

// exactTypes reads what exact wrote.
func exactTypes(text string) map[string]string {
	types := make(map[string]string)
	for pair := range strings.SplitSeq(text, ",") {
		escaped, kind, ok := strings.Cut(pair, "=")
		if key, err := url.QueryUnescape(escaped); ok && err == nil {
			types[key] = kind
		}
	}
	return types
}

// bodyForm says what a body was whose bytes do not tell: "value-binary",
// "value-null", "none", or the sizes of several data sections, "data 3 5".
func bodyForm(s *message.Message) string {
	switch s.Kind {
	case message.BodyNone:
		return "none"
	case message.BodyData:
		if s.BodySections < 2 {
			return ""
		}
		return "data" + dataSizes(s.Body)
	case message.BodySequence, message.BodyValue:
	}
	r := wire.NewReader(s.Value(), wire.Limits{})
	switch r.Peek() { //nolint:exhaustive // the others tell
	case wire.TypeNull:
		return "value-null"
	case wire.TypeBinary:
		return formValueBinary
	}
	return ""
}

// dataSizes lists the sizes of data sections.
func dataSizes(body []byte) string {
	var sizes strings.Builder
	r := wire.NewReader(body, wire.Limits{})
	for r.Len() > 0 && r.Err() == nil {
		r.Descriptor(dataName)
		fmt.Fprintf(&sizes, " %d", len(r.Binary()))
	}
	return sizes.String()
}

var dataName = map[string]uint64{"amqp:data:binary": message.CodeData}

// appendForm appends a body in the form that it had; ok is false when the form
// does not fit the body any more.
func appendForm(dst []byte, form string, body []byte) (_ []byte, ok bool) {
	switch form {
	case "none":
		return dst, len(body) == 0
	case "value-null":
		return message.AppendValue(dst, nil), len(body) == 0
	case formValueBinary:
		return message.AppendValue(dst, body), true
	}
	text, ok := strings.CutPrefix(form, "data ")
	if !ok {
		return dst, false
	}
	for field := range strings.FieldsSeq(text) {
		n, err := strconv.Atoi(field)
		if err != nil || n < 0 || n > len(body) {
			return dst, false
		}
		dst = message.AppendData(dst, body[:n])
		body = body[n:]
	}
	return dst, len(body) == 0
}

// takeExact takes what the neutral view has no place for.
func takeExact(m *routing.Message, s *message.Message, form string, h *message.Header, annotations wire.Map, x *exact) {
	if x.text.Len() > 0 {
		add(m, propExact, x.text.String())
	}
	if form != "" {
		add(m, propForm, form)
	}
	if h.TTL.Set && ttlOf(m) != h.TTL {
		add(m, propTTL, strconv.FormatUint(uint64(h.TTL.Value), 10))
	}
	if s.Footer != nil {
		add(m, propFooter, append([]byte(nil), s.Footer...))
	}
	for key, prop := range map[wire.Symbol]string{jmsMsgType: propJMSType, jmsDest: propJMSDest} {
		v, _ := annotations.Get(key)
		if n, ok := v.(int8); ok && (key == jmsDest || n != derivedJMSType(m)) {
			add(m, prop, strconv.Itoa(int(n)))
		}
	}
}

// derivedJMSType is the x-opt-jms-msg-type that the body says; -1 is none.
func derivedJMSType(m *routing.Message) int8 {
	e := encoder{m: m, kind: m.BodyKind}
	for _, a := range e.kindAnnotation() {
		if n, ok := a.Value.(int8); ok {
			return n
		}
	}
	return -1
}

// restoreExact takes a property that says what the message was.
func (e *encoder) restoreExact(key, text string) bool {
	switch key {
	case propExact:
		e.exact = exactTypes(text)
	case propForm:
		e.form = text
	case propTTL:
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return false
		}
		e.header.TTL = wire.Some(uint32(n))
	case propJMSType, propJMSDest:
		n, err := strconv.ParseInt(text, 10, 8)
		if err != nil {
			return false
		}
		if key == propJMSDest {
			e.annotate(jmsDest, int8(n))
			return true
		}
		e.jmsType = wire.Some(int8(n))
	default:
		return false
	}
	return true
}
