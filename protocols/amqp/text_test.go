package amqp

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/message"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
)

// A performative as text is its name and its fields, named as the specification
// does: attach name=l handle=0 role=sender source={address=q}. A field alone is
// true. Fields that have their default are left out.

var blanks = map[string]func() frames.Performative{
	"open": func() frames.Performative {
		return &frames.Open{MaxFrameSize: frames.DefaultMaxFrameSize, ChannelMax: frames.DefaultChannelMax}
	},
	"begin":           func() frames.Performative { return &frames.Begin{HandleMax: frames.DefaultHandleMax} },
	"attach":          func() frames.Performative { return &frames.Attach{} },
	"flow":            func() frames.Performative { return &frames.Flow{} },
	"transfer":        func() frames.Performative { return &frames.Transfer{} },
	"disposition":     func() frames.Performative { return &frames.Disposition{} },
	"detach":          func() frames.Performative { return &frames.Detach{} },
	"end":             func() frames.Performative { return &frames.End{} },
	"close":           func() frames.Performative { return &frames.Close{} },
	"sasl-mechanisms": func() frames.Performative { return &frames.SASLMechanisms{} },
	"sasl-init":       func() frames.Performative { return &frames.SASLInit{} },
	"sasl-challenge":  func() frames.Performative { return &frames.SASLChallenge{} },
	"sasl-response":   func() frames.Performative { return &frames.SASLResponse{} },
	"sasl-outcome":    func() frames.Performative { return &frames.SASLOutcome{} },
}

var stateNames = map[frames.StateKind]string{
	frames.StateReceived: "received", frames.StateAccepted: "accepted", frames.StateRejected: "rejected",
	frames.StateReleased: "released", frames.StateModified: "modified", frames.StateTransactional: "transactional",
	frames.StateDeclared: "declared",
}

// split cuts a line at its blanks, outside of quotes and braces.
func split(s string) []string {
	var parts []string
	depth, quoted, start := 0, false, 0
	for i, r := range s + " " {
		switch {
		case r == '"':
			quoted = !quoted
		case quoted:
		case r == '{':
			depth++
		case r == '}':
			depth--
		case r == ' ' && depth == 0:
			if part := s[start:i]; part != "" {
				parts = append(parts, part)
			}
			start = i + 1
		}
	}
	return parts
}

// parseFrame reads a performative and its payload.
func parseFrame(words []string) (frames.Performative, []byte, error) {
	fresh := blanks[words[0]]
	if fresh == nil {
		return nil, nil, fmt.Errorf("no performative %q", words[0])
	}
	p := fresh()
	var payload []byte
	var fields []string
	for _, w := range words[1:] {
		key, text, _ := strings.Cut(w, "=")
		switch key {
		case "message":
			b, err := parseMessage(text)
			if err != nil {
				return nil, nil, err
			}
			payload = append(payload, b...)
		case "raw":
			b, err := hex.DecodeString(text)
			if err != nil {
				return nil, nil, err
			}
			payload = append(payload, b...)
		case "bytes":
			n, err := strconv.Atoi(text)
			if err != nil {
				return nil, nil, err
			}
			payload = append(payload, slices.Repeat([]byte{'x'}, n)...)
		default:
			fields = append(fields, w)
		}
	}
	err := parseFields(reflect.ValueOf(p).Elem(), fields)
	if d, ok := p.(*frames.Disposition); ok && d.Last == 0 {
		d.Last = d.First
	}
	return p, payload, err
}

// parseMessage reads {durable to=q body}, where body is the text of a data section.
func parseMessage(text string) ([]byte, error) {
	var h message.Header
	var p message.Properties
	var notes wire.Map
	var b []byte
	for _, w := range split(strings.Trim(text, "{}")) {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "durable":
			h.Durable = true
		case "priority":
			n, err := strconv.ParseUint(value, 10, 8)
			if err != nil {
				return nil, err
			}
			h.Priority = wire.Some(uint8(n))
		case "ttl":
			n, err := strconv.ParseUint(value, 10, 32)
			if err != nil {
				return nil, err
			}
			h.TTL = wire.Some(uint32(n))
		case "to":
			p.To = wire.Some(value)
		case "jms-dest":
			n, err := strconv.ParseInt(value, 10, 8)
			if err != nil {
				return nil, err
			}
			notes = append(notes, wire.Entry{Key: jmsDest, Value: int8(n)})
		case "subject":
			p.Subject = wire.Some(value)
		case "user":
			p.UserID = []byte(value)
		case "value":
			b = message.AppendValue(b, value)
		case "declare":
			b = appendCommand(b, (&frames.Declare{}).Append(nil))
		case "declare-global":
			b = appendCommand(b, (&frames.Declare{GlobalID: value}).Append(nil))
		case "commit", "rollback":
			id, err := hex.DecodeString(value)
			if err != nil {
				return nil, err
			}
			b = appendCommand(b, (&frames.Discharge{TxnID: id, Fail: key == "rollback"}).Append(nil))
		case "group":
			p.GroupID = wire.Some(value)
		default:
			b = message.AppendData(b, []byte(key))
		}
	}
	var all []byte
	if !reflect.DeepEqual(h, message.Header{}) {
		all = h.Append(all)
	}
	if notes != nil {
		all = message.AppendMap(all, message.CodeMessageAnnotations, notes)
	}
	if !reflect.DeepEqual(p, message.Properties{}) {
		all = p.Append(all)
	}
	return append(all, b...), nil
}

// appendCommand appends an amqp-value section with a command to the coordinator.
func appendCommand(b, command []byte) []byte {
	return append(append(b, 0x00, 0x53, 0x77), command...)
}

func fieldName(kebab string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(kebab, "-") {
		switch part {
		case "id":
			b.WriteString("ID")
		case "time":
			b.WriteString("T")
		case "out":
			b.WriteString("imeout")
		default:
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return b.String()
}

func kebab(name string) string {
	name = strings.NewReplacer("ID", "Id", "TTL", "Ttl").Replace(name)
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

func parseFields(v reflect.Value, words []string) error {
	for _, w := range words {
		key, text, has := strings.Cut(w, "=")
		if !has {
			text = "true"
		}
		f := v.FieldByName(fieldName(key))
		if !f.IsValid() {
			return fmt.Errorf("%s has no field %q", v.Type(), key)
		}
		if err := parseValue(f, text); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if m, ok := reflect.TypeAssert[*wire.Map](f.Addr()); ok && key == "unsettled" {
			readUnsettled(*m)
		}
	}
	return nil
}

func parseValue(f reflect.Value, text string) error {
	switch x := f.Addr().Interface().(type) {
	case *frames.Role:
		*x = text == "receiver"
		return nil
	case *[]byte:
		if raw, ok := strings.CutPrefix(text, "0x"); ok {
			b, err := hex.DecodeString(raw)
			*x = append([]byte{}, b...)
			return err
		}
		*x = []byte(strings.ReplaceAll(strings.Trim(text, `"`), "|", "\x00"))
		return nil
	case *[]wire.Symbol:
		for s := range strings.SplitSeq(text, ",") {
			*x = append(*x, wire.Symbol(s))
		}
		return nil
	case *frames.State:
		name, rest, _ := strings.Cut(text, "{")
		for kind, known := range stateNames {
			if known == name {
				x.Kind = kind
			}
		}
		return parseFields(f, split(strings.TrimSuffix(rest, "}")))
	case *wire.Map:
		for _, w := range split(strings.Trim(text, "{}")) {
			key, value, _ := strings.Cut(w, "=")
			*x = append(*x, wire.Entry{Key: wire.Symbol(key), Value: parseMapValue(key, value)})
		}
		return nil
	case *frames.StateKind:
		for kind, known := range stateNames {
			if known == text {
				*x = kind
			}
		}
		return nil
	}
	switch f.Kind() {
	case reflect.Pointer:
		f.Set(reflect.New(f.Type().Elem()))
		return parseFields(f.Elem(), split(strings.TrimSuffix(strings.TrimPrefix(text, "{"), "}")))
	case reflect.Struct: // Optional
		f.FieldByName("Set").SetBool(true)
		return parseValue(f.FieldByName("Value"), text)
	case reflect.String:
		f.SetString(strings.Trim(text, `"`))
	case reflect.Bool:
		f.SetBool(text == "true")
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return err
		}
		f.SetUint(n)
	default:
		return fmt.Errorf("cannot read a %s", f.Type())
	}
	return nil
}

// readUnsettled makes delivery-tags of the keys of a map and states of its values.
func readUnsettled(m wire.Map) {
	for i := range m {
		var tag []byte
		if name, ok := m[i].Key.(wire.Symbol); ok {
			_ = parseValue(reflect.ValueOf(&tag).Elem(), string(name)) // no hex digits: no tag
		}
		m[i].Key = tag
		if name, ok := m[i].Value.(wire.Symbol); ok {
			m[i].Value = wire.Described{Descriptor: stateDescriptors[string(name)], Value: wire.List{}}
		}
	}
}

var stateDescriptors = map[string]uint64{
	"accepted": frames.CodeAccepted, "released": frames.CodeReleased, "modified": frames.CodeModified,
}

// parseMapValue reads "text", which is a filter named as its key says; [43], an
// empty list with that descriptor, [0x61] with a binary one; null; or else a symbol.
func parseMapValue(key, text string) any {
	switch {
	case strings.HasPrefix(text, `"`):
		return wire.Described{
			Descriptor: wire.Symbol("apache.org:" + key + "-filter:string"), Value: strings.Trim(text, `"`),
		}
	case strings.HasPrefix(text, "[0x"):
		raw, err := hex.DecodeString(strings.TrimSuffix(strings.TrimPrefix(text, "[0x"), "]"))
		if err != nil {
			panic(err) // the script is wrong
		}
		return wire.Described{Descriptor: raw, Value: wire.List{}}
	case strings.HasPrefix(text, "["):
		code, err := strconv.ParseUint(strings.Trim(text, "[]"), 10, 64)
		if err != nil {
			return wire.Described{Descriptor: wire.Symbol(strings.Trim(text, "[]")), Value: wire.List{}}
		}
		return wire.Described{Descriptor: code, Value: wire.List{}}
	case text == "null":
		return nil
	}
	return wire.Symbol(text)
}

// format writes a performative and its payload as text.
func format(p frames.Performative, payload []byte) string {
	text := frames.Name(p) + formatFields(reflect.ValueOf(p).Elem())
	if len(payload) == 0 {
		return text
	}
	m, err := message.Scan(payload)
	if err != nil || len(payload) > 200 {
		return fmt.Sprintf("%s payload=%d bytes", text, len(payload))
	}
	text += " message={"
	if h, err := m.DecodeHeader(); err == nil && m.Header != nil {
		text += "header={" + strings.TrimSpace(formatFields(reflect.ValueOf(h))) + "} "
	}
	if m.Properties != nil {
		if p, err := m.DecodeProperties(); err == nil {
			text += "properties={" + strings.TrimSpace(formatFields(reflect.ValueOf(p))) + "} "
		}
	}
	if m.Kind == message.BodyValue || m.Kind == message.BodySequence {
		return text + "body=" + hex.EncodeToString(m.Body) + "}"
	}
	return text + string(m.Data()) + "}"
}

func formatFields(v reflect.Value) string {
	var b strings.Builder
	for i := range v.NumField() {
		name, f := v.Type().Field(i).Name, v.Field(i)
		_, isOpen := reflect.TypeAssert[frames.Open](v)
		if isOpen && name == "Properties" && !showsProperties(f) || f.IsZero() && name != "Role" {
			continue
		}
		b.WriteString(" " + kebab(name))
		if text := formatValue(f); text != "true" {
			b.WriteString("=" + text)
		}
	}
	return b.String()
}

// showsProperties reports whether the properties of an open have more than what
// changes with the machine.
func showsProperties(f reflect.Value) bool {
	m, _ := reflect.TypeAssert[wire.Map](f)
	return len(m) > 3
}

func formatEntry(e wire.Entry) string {
	if tag, ok := e.Key.([]byte); ok {
		e.Key = formatValue(reflect.ValueOf(tag))
	}
	if d, ok := e.Value.(wire.Described); ok {
		for name, code := range stateDescriptors {
			if d.Descriptor == any(code) {
				e.Value = name
			}
		}
	}
	return fmt.Sprintf("%v=%v", e.Key, e.Value)
}

func formatValue(f reflect.Value) string {
	switch x := f.Interface().(type) {
	case frames.Role:
		return x.String()
	case []byte:
		if s := string(x); strings.IndexFunc(s, unicode.IsControl) < 0 {
			return strconv.Quote(s)
		}
		return "0x" + hex.EncodeToString(x)
	case []wire.Symbol:
		var s []string
		for _, y := range x {
			s = append(s, strings.TrimSuffix(strings.TrimPrefix(string(y), "amqp:"), ":list"))
		}
		return strings.Join(s, ",")
	case frames.State:
		x.Kind = 0
		text := stateNames[f.Interface().(frames.State).Kind]
		if rest := strings.TrimSpace(formatFields(reflect.ValueOf(x))); rest != "" {
			text += "{" + rest + "}"
		}
		return text
	case wire.Map:
		var s []string
		for _, e := range x {
			if e.Key == wire.Symbol("platform") {
				continue
			}
			s = append(s, formatEntry(e))
		}
		return "{" + strings.Join(s, " ") + "}"
	case frames.StateKind:
		return stateNames[x]
	case frames.SASLCode:
		return strconv.Itoa(int(x))
	}
	switch f.Kind() { //nolint:exhaustive // the rest is plain
	case reflect.Pointer:
		return "{" + strings.TrimSpace(formatFields(f.Elem())) + "}"
	case reflect.Struct:
		return formatValue(f.FieldByName("Value"))
	case reflect.String:
		if s := f.String(); strings.ContainsAny(s, " {}") || s == "" {
			return strconv.Quote(s)
		}
		return f.String()
	}
	return fmt.Sprint(f.Interface())
}
