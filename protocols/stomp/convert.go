package stomp

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
	"github.com/selvedge-mq/selvedge/routing"
)

// Codec converts payloads of routing.EncodingSTOMP. A payload is the header
// lines of a MESSAGE, escaped as in 1.2, an empty line, and the body.
type Codec struct{}

var _ routing.Codec = Codec{}

// bodyRaw marks a body that holds an AMQP-encoded section, and its type.
const (
	bodyRaw     = "raw"
	bodyText    = "value-string"
	contentRaw  = "application/x-amqp-section"
	clashPrefix = "amqp-ap-"
)

// reserved are the names that a property must not have as a header: they mean
// something in a MESSAGE, or are the translation of another field.
func reserved(key string) bool {
	switch key {
	case "destination", "message-id", "subscription", "ack", "id", "receipt", "receipt-id", "transaction",
		"content-length", "content-type", "content-encoding", "persistent", "priority", "expires", "timestamp",
		"redelivered", "delivery-count", "correlation-id", "reply-to", "type", "user-id", "heart-beat",
		"JMSXGroupID", "JMSXGroupSeq", "amqp-message-id", "amqp-to", "amqp-types", "amqp-body":
		return true
	}
	return strings.HasPrefix(key, clashPrefix)
}

// Encode returns the payload of a neutral message; its destination is m.To.
func (Codec) Encode(m *routing.Message) ([]byte, error) {
	return encodePayload(m, m.To), nil
}

// encodePayload writes what survives in STOMP.
func encodePayload(m *routing.Message, destination string) []byte {
	counted := m.BodyKind != routing.BodyText || bytes.IndexByte(m.Body, 0) >= 0 // its absence means text, to clients of ActiveMQ
	length := int64(len(m.Body))
	if !counted {
		length = -1
	}
	return append(encodeHead(make([]byte, 0, 256+len(m.Body)), m, destination, length), m.Body...)
}

// encodeHead appends what stands in front of a body, whose length is -1 when no
// header shall say it. What has no header of its own becomes amqp-….
func encodeHead(dst []byte, m *routing.Message, destination string, length int64) []byte {
	add := func(key, value string) {
		if value != "" {
			dst = frame.AppendHeader(dst, frame.V12, key, value)
		}
	}
	if m.Priority != routing.DefaultPriority {
		dst = frame.AppendInt(dst, "priority", int64(m.Priority))
	}
	if m.Expiry != 0 {
		dst = frame.AppendInt(dst, "expires", m.Expiry)
	}
	if m.CreationTime != 0 {
		dst = frame.AppendInt(dst, "timestamp", m.CreationTime)
	}
	if m.Persistent {
		add("persistent", "true")
	}
	add("destination", destination)
	if length >= 0 {
		dst = frame.AppendInt(dst, "content-length", length)
	}
	add("amqp-message-id", m.MessageID)
	add("correlation-id", m.CorrelationID)
	if m.ReplyTo != (routing.Address{}) {
		add("reply-to", neutral.spell(m.ReplyTo))
	}
	if m.To != destination {
		add("amqp-to", m.To)
	}
	add("type", m.Subject)
	add("content-encoding", m.ContentEncoding)
	add("user-id", m.UserID)
	add("JMSXGroupID", m.Group)
	if m.GroupSequence != 0 {
		dst = frame.AppendInt(dst, "JMSXGroupSeq", int64(m.GroupSequence))
	}
	switch m.BodyKind {
	case routing.BodyBytes:
		add("content-type", m.ContentType)
	case routing.BodyText:
		add("content-type", m.ContentType)
		add("amqp-body", bodyText)
	case routing.BodyValue:
		add("content-type", cmp.Or(m.ContentType, contentRaw))
		add("amqp-body", bodyRaw)
	}
	dst = appendProperties(dst, m.Properties)
	return append(dst, '\n')
}

// A list of types has commas between its names, so that one inside a name is written
// otherwise.
var (
	typeKey   = strings.NewReplacer("%", "%25", ",", "%2C")
	keyOfType = strings.NewReplacer("%25", "%", "%2C", ",")
)

// appendProperties writes each property as text, the first of those with the same
// key, and the types of those that are no strings in one header, so that a message
// sent back gets them again.
func appendProperties(dst []byte, properties []routing.Property) []byte {
	var types []byte
	seen := make(map[string]bool, len(properties))
	for _, p := range properties {
		text, kind := propertyText(p.Value)
		key := p.Key
		if key == "" || seen[key] {
			continue
		}
		seen[key] = true
		if reserved(key) {
			key = clashPrefix + key
		}
		dst = frame.AppendHeader(dst, frame.V12, key, text)
		if kind != "" {
			if len(types) > 0 {
				types = append(types, ',')
			}
			types = append(append(append(types, typeKey.Replace(p.Key)...), '='), kind...)
		}
	}
	if len(types) > 0 {
		dst = frame.AppendHeader(dst, frame.V12, "amqp-types", types)
	}
	return dst
}

func propertyText(v any) (text, kind string) {
	switch v := v.(type) {
	case nil:
		return "", "null"
	case string:
		return v, ""
	case bool:
		return strconv.FormatBool(v), "boolean"
	case int64:
		return strconv.FormatInt(v, 10), "long"
	case uint64:
		return strconv.FormatUint(v, 10), "ulong"
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), "double"
	case []byte:
		return hex.EncodeToString(v), "binary"
	}
	return fmt.Sprint(v), ""
}

// propertyValue is the reverse of propertyText; text that does not fit its type
// stays a string.
func propertyValue(text, kind string) any {
	var v any
	var err error
	switch kind {
	case "null":
		return nil
	case "boolean":
		v, err = strconv.ParseBool(text)
	case "long":
		v, err = strconv.ParseInt(text, 10, 64)
	case "ulong":
		v, err = strconv.ParseUint(text, 10, 64)
	case "double":
		v, err = strconv.ParseFloat(text, 64)
	case "binary":
		v, err = hex.DecodeString(text)
	default:
		return text
	}
	if err != nil {
		return text
	}
	return v
}

// Decode returns the neutral view of a payload.
func (Codec) Decode(payload []byte) (*routing.Message, error) {
	lines, body := cutBody(payload)
	if len(lines) > 0 && lines[len(lines)-1] != '\n' {
		return nil, fmt.Errorf("stomp: a payload of %d octets has no end of its headers", len(payload))
	}
	return decode(lines, body), nil
}

func decode(lines, body []byte) *routing.Message {
	d := decoder{m: &routing.Message{Priority: routing.DefaultPriority, Body: body}, seen: make(map[string]bool)}
	for key, value := range frame.Lines(lines) {
		if k := string(key); !d.seen[k] { // the first of repeated headers counts
			d.seen[k] = true
			d.header(k, string(value))
		}
	}
	for i, p := range d.m.Properties {
		if kind := d.types[p.Key]; kind != "" {
			d.m.Properties[i].Value = propertyValue(p.Value.(string), kind) //nolint:forcetypeassert // set as a string below
		}
	}
	d.body()
	return d.m
}

// decoder holds a message while its headers are read.
type decoder struct {
	m       *routing.Message
	seen    map[string]bool
	types   map[string]string
	amqp    string // the header amqp-body
	jmsType string // the header amq-msg-type
}

// texts maps headers to the fields that take their text as it is.
func (d *decoder) text(key string) *string {
	switch key {
	case "destination", "amqp-to":
		return &d.m.To
	case "amqp-message-id":
		return &d.m.MessageID
	case "correlation-id":
		return &d.m.CorrelationID
	case "type":
		return &d.m.Subject
	case "content-type":
		return &d.m.ContentType
	case "content-encoding":
		return &d.m.ContentEncoding
	case "user-id":
		return &d.m.UserID
	case "JMSXGroupID":
		return &d.m.Group
	case "amqp-body":
		return &d.amqp
	case "amq-msg-type":
		return &d.jmsType
	}
	return nil
}

func (d *decoder) header(key, value string) {
	if field := d.text(key); field != nil {
		*field = value
		return
	}
	switch key {
	case "priority":
		n, _ := strconv.ParseUint(value, 10, 8)
		d.m.Priority = uint8(n)
	case "expires":
		d.m.Expiry, _ = strconv.ParseInt(value, 10, 64)
	case "timestamp":
		d.m.CreationTime, _ = strconv.ParseInt(value, 10, 64)
	case "persistent":
		d.m.Persistent = value == "true"
	case "JMSXGroupSeq":
		n, _ := strconv.ParseUint(value, 10, 32)
		d.m.GroupSequence = uint32(n)
	case "reply-to":
		if to, err := neutral.parse(value); err == nil && !to.own && to.parts == nil {
			d.m.ReplyTo = to.address
			return
		}
		d.property(key, value)
	case "amqp-types":
		d.types = make(map[string]string)
		for pair := range strings.SplitSeq(value, ",") {
			if i := strings.LastIndexByte(pair, '='); i > 0 {
				d.types[keyOfType.Replace(pair[:i])] = pair[i+1:]
			}
		}
	case "content-length", "expiration":
		// the length says the kind of the body, the expiry is in expires
	default:
		d.property(strings.TrimPrefix(key, clashPrefix), value)
	}
}

// property adds one. A name may come in two spellings, of which the first counts; an
// empty one is none.
func (d *decoder) property(key, value string) {
	if key == "" || slices.ContainsFunc(d.m.Properties, func(p routing.Property) bool { return p.Key == key }) {
		return
	}
	d.m.Properties = append(d.m.Properties, routing.Property{Key: key, Value: value})
}

// body says what the body is: as the sender says, else text when it gave
// neither a length nor a type, as ActiveMQ does.
func (d *decoder) body() {
	m := d.m
	switch {
	case d.amqp == bodyRaw:
		m.BodyKind = routing.BodyValue
		if m.ContentType == contentRaw {
			m.ContentType = ""
		}
	case d.amqp != "" && d.amqp != bodyText, d.jmsType == "bytes":
		m.BodyKind = routing.BodyBytes
	case d.amqp == bodyText, d.jmsType == "text", !d.seen["content-length"] && m.ContentType == "":
		if utf8.Valid(m.Body) {
			m.BodyKind = routing.BodyText
		}
	}
}
