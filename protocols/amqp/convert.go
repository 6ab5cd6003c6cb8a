package amqp

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/selvedge-mq/selvedge/protocols/amqp/message"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/routing"
)

// Codec converts payloads of routing.EncodingAMQP: the sections of a message as
// they arrived. What the neutral view has no field for becomes a property whose
// key starts with "amqp-", and comes back from it; delivery annotations and the
// footer end here.
type Codec struct{}

var _ routing.Codec = Codec{}

// The properties that stand for fields that the neutral view does not have.
const (
	propReplyTo        = "amqp-reply-to" // that is no address of ours
	propReplyToGroupID = "amqp-reply-to-group-id"
	propUserID         = "amqp-user-id" // that is no text
	propAnnotation     = "amqp-ma-"     // and the key of a message annotation
)

// The annotations of the JMS mapping: they are derived from other fields.
const (
	jmsPrefix                = "x-opt-jms-"
	jmsMsgType   wire.Symbol = "x-opt-jms-msg-type"
	jmsReplyTo   wire.Symbol = "x-opt-jms-reply-to"
	jmsDest      wire.Symbol = "x-opt-jms-dest"
	jmsTypeBytes int8        = 3
	jmsTypeText  int8        = 5
)

// jmsKinds gives the terminus capability for each value of x-opt-jms-reply-to and
// x-opt-jms-dest.
var jmsKinds = [...]wire.Symbol{capQueue, capTopic, capTempQueue, capTempTopic}

// Decode returns the neutral view of a payload; its body may alias it.
func (Codec) Decode(payload []byte) (*routing.Message, error) {
	s, err := message.Scan(payload)
	if err != nil {
		return nil, fmt.Errorf("amqp: sections of a message: %w", err)
	}
	return decode(&s, func(m *routing.Message) string {
		takeBody(m, &s)
		return bodyForm(&s)
	})
}

// decode returns the neutral view of a message. The body is taken by takeBody,
// which returns the form that it had, see bodyForm.
func decode(s *message.Message, takeBody func(m *routing.Message) (form string)) (*routing.Message, error) {
	h, herr := s.DecodeHeader()
	annotations, aerr := s.DecodeMessageAnnotations()
	p, perr := s.DecodeProperties()
	application, err := s.DecodeApplicationProperties()
	if err = errors.Join(herr, aerr, perr, err); err != nil {
		return nil, fmt.Errorf("amqp: a section of a message: %w", err)
	}
	m := &routing.Message{
		MessageID:       idText(p.MessageID),
		CorrelationID:   idText(p.CorrelationID),
		To:              p.To.Value,
		Subject:         p.Subject.Value,
		ContentType:     string(p.ContentType),
		ContentEncoding: string(p.ContentEncoding),
		Group:           p.GroupID.Value,
		GroupSequence:   p.GroupSequence.Value,
		CreationTime:    int64(p.CreationTime.Value),
		Expiry:          expiryOf(&h, &p),
		Priority:        h.Priority.Or(message.DefaultPriority),
		Persistent:      h.Durable,
	}
	var x exact
	for _, e := range application {
		key := e.Key.(string) //nolint:forcetypeassert // DecodeApplicationProperties checks it
		add(m, key, neutral(e.Value))
		x.note(key, e.Value)
	}
	takeExtras(m, &p, annotations, &x)
	form := takeBody(m)
	takeExact(m, s, form, &h, annotations, &x)
	return m, nil
}

func add(m *routing.Message, key string, value any) {
	m.Properties = append(m.Properties, routing.Property{Key: key, Value: value})
}

// expiryOf returns when a message expires, as far as it says so itself.
func expiryOf(h *message.Header, p *message.Properties) int64 {
	switch {
	case p.AbsoluteExpiryTime.Set:
		return int64(p.AbsoluteExpiryTime.Value)
	case h.TTL.Set && p.CreationTime.Set:
		return int64(p.CreationTime.Value) + int64(h.TTL.Value)
	}
	return 0
}

// takeExtras takes the fields that are not of one type in both views.
func takeExtras(m *routing.Message, p *message.Properties, annotations wire.Map, x *exact) {
	if utf8.Valid(p.UserID) {
		m.UserID = string(p.UserID)
	} else {
		add(m, propUserID, append([]byte(nil), p.UserID...))
	}
	if to := p.ReplyTo.Value; to != "" {
		a, err := plainSpeller.parse(to, jmsKind(annotations, jmsReplyTo))
		if err != nil {
			add(m, propReplyTo, to)
		} else {
			m.ReplyTo = a
		}
	}
	if g := p.ReplyToGroupID.Value; g != "" {
		add(m, propReplyToGroupID, g)
	}
	for _, e := range annotations {
		if key, ok := e.Key.(wire.Symbol); ok && !strings.HasPrefix(string(key), jmsPrefix) {
			add(m, propAnnotation+string(key), neutral(e.Value))
			x.note(propAnnotation+string(key), e.Value)
		}
	}
}

// jmsKind returns what an annotation of the JMS mapping says an address is.
func jmsKind(annotations wire.Map, key wire.Symbol) []wire.Symbol {
	v, _ := annotations.Get(key)
	if k, ok := v.(int8); ok && k >= 0 && int(k) < len(jmsKinds) {
		return jmsKinds[k : k+1]
	}
	return nil
}

// takeBody takes the body in its plainest form: text, bytes, or else the
// sections as they are. Null and no body are no bytes.
func takeBody(m *routing.Message, s *message.Message) {
	switch s.Kind {
	case message.BodyNone:
		return
	case message.BodyData:
		m.Body = s.Data()
		return
	case message.BodySequence, message.BodyValue:
	}
	r := wire.NewReader(s.Value(), wire.Limits{})
	switch r.Peek() {
	case wire.TypeNull:
		return
	case wire.TypeBinary:
		m.Body = r.Binary()
		return
	case wire.TypeString:
		m.Body = r.Text()
		m.BodyKind = routing.BodyText
		if r.Err() == nil {
			return
		}
	default: // it has no plainer form
	}
	m.BodyKind, m.Body = routing.BodyValue, s.Body
}

// neutral returns a value as one of the types of a neutral property. Numbers
// get wider; what has no plain form is its encoding.
func neutral(v any) any {
	switch v := v.(type) {
	case nil, bool, string, []byte, int64, uint64, float64:
		return v
	case uint8:
		return uint64(v)
	case uint16:
		return uint64(v)
	case uint32:
		return uint64(v)
	case int8:
		return int64(v)
	case int16:
		return int64(v)
	case int32:
		return int64(v)
	case float32:
		return float64(v)
	case wire.Timestamp:
		return int64(v)
	case wire.Char:
		return string(v)
	case wire.Symbol:
		return string(v)
	case wire.UUID:
		return uuidText(v)
	}
	return wire.AppendValue(nil, v)
}

// Encode returns the payload for a neutral message.
func (Codec) Encode(m *routing.Message) ([]byte, error) {
	e := encoder{m: m}
	e.fields()
	e.properties()
	e.body()
	dst := e.appendSections(make([]byte, 0, 256+len(m.Body)))
	return append(e.appendBody(dst), e.footer...), nil
}

// appendSections appends the sections in front of the body.
func (e *encoder) appendSections(dst []byte) []byte {
	dst = e.header.Append(dst)
	if len(e.annotations) > 0 {
		dst = message.AppendMap(dst, message.CodeMessageAnnotations, e.annotations)
	}
	dst = e.standard.Append(dst)
	if len(e.application) > 0 {
		dst = message.AppendMap(dst, message.CodeApplicationProperties, e.application)
	}
	return dst
}

// encoder gathers the sections of a message.
type encoder struct {
	m           *routing.Message
	header      message.Header
	annotations wire.Map
	standard    message.Properties
	application wire.Map
	kind        routing.BodyKind // with the body checked
	form        string           // that the body had
	footer      []byte
	exact       map[string]string
	jmsType     wire.Optional[int8]
}

func (e *encoder) fields() {
	m := e.m
	e.header = message.Header{
		Durable:  m.Persistent,
		Priority: wire.Optional[uint8]{Value: m.Priority, Set: m.Priority != message.DefaultPriority},
		TTL:      ttlOf(m),
	}
	e.standard = message.Properties{
		MessageID:          idValue(m.MessageID),
		To:                 textField(m.To),
		Subject:            textField(m.Subject),
		CorrelationID:      idValue(m.CorrelationID),
		ContentType:        ascii(m.ContentType),
		ContentEncoding:    ascii(m.ContentEncoding),
		AbsoluteExpiryTime: wire.Optional[wire.Timestamp]{Value: wire.Timestamp(m.Expiry), Set: m.Expiry != 0},
		CreationTime:       wire.Optional[wire.Timestamp]{Value: wire.Timestamp(m.CreationTime), Set: m.CreationTime != 0},
		GroupID:            textField(m.Group),
		GroupSequence:      wire.Optional[uint32]{Value: m.GroupSequence, Set: m.GroupSequence != 0},
	}
	if m.UserID != "" {
		e.standard.UserID = []byte(m.UserID)
	}
	if to := m.ReplyTo; to.Validate() == nil {
		e.standard.ReplyTo = wire.Some(to.String())
		e.annotate(jmsReplyTo, int8(to.Kind-routing.KindQueue)) //nolint:gosec // 0 to 3
	}
}

func (e *encoder) annotate(key wire.Symbol, v any) {
	e.annotations = append(e.annotations, wire.Entry{Key: key, Value: v})
}

// ttlOf returns how long the message was to live when it was created.
func ttlOf(m *routing.Message) wire.Optional[uint32] {
	ttl := m.Expiry - m.CreationTime
	if m.Expiry == 0 || m.CreationTime == 0 || ttl <= 0 || ttl > math.MaxUint32 {
		return wire.Optional[uint32]{}
	}
	return wire.Some(uint32(ttl))
}

func (e *encoder) properties() {
	for _, p := range e.m.Properties { // the types first
		if text, ok := p.Value.(string); ok && p.Key == propExact {
			e.exact = exactTypes(text)
		}
	}
	for _, p := range e.m.Properties {
		if !e.restore(p) {
			v := exactValue(p.Value, e.exact[p.Key])
			if s, ok := v.(string); ok {
				v = valid(s)
			}
			e.application = append(e.application, wire.Entry{Key: valid(p.Key), Value: v})
		}
	}
}

// restore puts a property back into the field that it stands for.
func (e *encoder) restore(p routing.Property) bool {
	text, isText := p.Value.(string)
	switch {
	case isText && e.restoreExact(p.Key, text):
	case p.Key == propFooter:
		b, ok := p.Value.([]byte)
		if ok = ok && isFooter(b); ok {
			e.footer = b
		}
		return ok
	case p.Key == propReplyTo && isText && !e.standard.ReplyTo.Set:
		e.standard.ReplyTo = textField(text)
	case p.Key == propReplyToGroupID && isText:
		e.standard.ReplyToGroupID = textField(text)
	case p.Key == propUserID && e.standard.UserID == nil:
		b, ok := p.Value.([]byte)
		e.standard.UserID = b
		return ok
	case strings.HasPrefix(p.Key, propAnnotation):
		key := p.Key[len(propAnnotation):]
		if key == "" || strings.HasPrefix(key, jmsPrefix) || wire.Symbol(key) != ascii(key) {
			return false
		}
		v := exactValue(p.Value, e.exact[p.Key])
		if s, ok := v.(string); ok {
			v = valid(s)
		}
		e.annotate(wire.Symbol(key), v)
	default:
		return false
	}
	return true
}

// body says in which form the body goes, and tells clients of the JMS mapping
// unless the content type does.
func (e *encoder) body() {
	m := e.m
	e.kind = m.BodyKind
	if e.kind == routing.BodyText && !utf8.Valid(m.Body) || e.kind == routing.BodyValue && !isValueBody(m.Body) {
		e.kind = routing.BodyBytes
	}
	e.annotations = append(e.annotations, e.kindAnnotation()...)
}

// kindAnnotation is the annotation of the JMS mapping that says what the body is.
func (e *encoder) kindAnnotation() wire.Map {
	switch {
	case e.jmsType.Set:
		return wire.Map{{Key: jmsMsgType, Value: e.jmsType.Value}}
	case e.kind == routing.BodyText:
		return wire.Map{{Key: jmsMsgType, Value: jmsTypeText}}
	case e.kind == routing.BodyBytes && (e.m.ContentType == "" || e.m.ContentType == "application/octet-stream"):
		return wire.Map{{Key: jmsMsgType, Value: jmsTypeBytes}}
	}
	return nil
}

// isFooter reports whether b is a footer section and nothing else.
func isFooter(b []byte) bool {
	s, err := message.Scan(b)
	return err == nil && len(b) > 0 && len(s.Footer) == len(b)
}

func (e *encoder) appendBody(dst []byte) []byte {
	if e.kind == routing.BodyBytes {
		if b, ok := appendForm(dst, e.form, e.m.Body); ok {
			return b
		}
	}
	switch e.kind {
	case routing.BodyText:
		return message.AppendText(dst, e.m.Body)
	case routing.BodyValue:
		return append(dst, e.m.Body...)
	case routing.BodyBytes:
	}
	return message.AppendData(dst, e.m.Body)
}

// isValueBody reports whether b is a body of amqp-value or amqp-sequence
// sections and nothing else.
func isValueBody(b []byte) bool {
	s, err := message.Scan(b)
	return err == nil && len(b) > 0 && len(s.Body) == len(b) && s.Kind != message.BodyData
}

func textField(s string) wire.Optional[string] {
	return wire.Optional[string]{Value: valid(s), Set: s != ""}
}

// valid returns s as a string of AMQP can be.
func valid(s string) string { return strings.ToValidUTF8(s, string(utf8.RuneError)) }

// ascii returns s as a symbol can be.
func ascii(s string) wire.Symbol {
	return wire.Symbol(strings.Map(func(r rune) rune {
		if r >= utf8.RuneSelf {
			return '?'
		}
		return r
	}, s))
}

// The forms of ids that are not strings, as in the JMS mapping.
const (
	idUUID   = "AMQP_UUID:"
	idUlong  = "AMQP_ULONG:"
	idBinary = "AMQP_BINARY:"
	idString = "AMQP_STRING:" // of a string that would be read as another form
)

// idText returns an id as text, from which idValue makes the same id.
func idText(v any) string {
	switch v := v.(type) {
	case string:
		if s, ok := idValue(v).(string); v == "" || !ok || s != v {
			return idString + v
		}
		return v
	case uint64:
		return idUlong + strconv.FormatUint(v, 10)
	case wire.UUID:
		return idUUID + uuidText(v)
	case []byte:
		return idBinary + hex.EncodeToString(v)
	}
	return ""
}

// idValue is the reverse of idText. Text in none of its forms is a string.
func idValue(text string) any {
	plain := text
	for strings.HasPrefix(plain, idString) {
		plain = plain[len(idString):]
	}
	v := typedID(plain)
	switch {
	case len(plain) == len(text):
		if v == nil && text != "" {
			return text
		}
		return v
	case v != nil || plain == "":
		return text[len(idString):]
	}
	return text
}

// typedID returns the id that is not a string and has this text; nil if there
// is none.
func typedID(text string) any {
	if s, ok := strings.CutPrefix(text, idUlong); ok {
		if v, err := strconv.ParseUint(s, 10, 64); err == nil && strconv.FormatUint(v, 10) == s {
			return v
		}
	}
	if s, ok := strings.CutPrefix(text, idUUID); ok {
		var u wire.UUID
		b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
		if copy(u[:], b); err == nil && uuidText(u) == s {
			return u
		}
	}
	if s, ok := strings.CutPrefix(text, idBinary); ok {
		if b, err := hex.DecodeString(s); err == nil && hex.EncodeToString(b) == s {
			return b
		}
	}
	return nil
}

func uuidText(u wire.UUID) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
