package amqp

import (
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
)

// properties are those of a message that routing reads. [messaging 3.2.4]
type properties struct {
	to      string
	subject string
	user    string
	expiry  int64 // Unix milliseconds
	group   string
}

// wanted says which properties are read that most messages are not asked for.
type wanted struct{ to, subject, user bool }

var propertiesName = map[string]uint64{"amqp:properties:list": 0x73}

// readProperties reads no more of a properties section than is needed.
func readProperties(section []byte, w wanted) (properties, error) {
	var p properties
	if section == nil {
		return p, nil
	}
	r := wire.NewReader(section, wire.Limits{})
	r.Descriptor(propertiesName)
	f := r.Fields()
	skip(&f, "message-id")
	if w.user {
		p.user = string(f.Binary("user-id"))
	} else {
		skip(&f, "user-id")
	}
	p.to = text(&f, "to", w.to)
	p.subject = text(&f, "subject", w.subject)
	skip(&f, "reply-to")
	skip(&f, "correlation-id")
	skip(&f, "content-type")
	skip(&f, "content-encoding")
	p.expiry = int64(f.OptTimestamp("absolute-expiry-time").Value)
	skip(&f, "creation-time")
	p.group = f.OptString("group-id").Value
	f.End()
	return p, r.Err()
}

// text reads a string if it is wanted.
func text(f *wire.Fields, name string, want bool) string {
	if want {
		return f.OptString(name).Value
	}
	skip(f, name)
	return ""
}

func skip(f *wire.Fields, name string) {
	if r, ok := f.Present(name); ok {
		r.Skip()
	}
}
