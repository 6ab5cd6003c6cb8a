package amqpclient

import "encoding/binary"

// Template is what stands in front of each body of a sender: the header section
// and the begin of the data section.
type Template struct{ head []byte }

// NewTemplate returns the template of messages with that durability.
// [messaging 3.2.1]
func NewTemplate(durable bool) *Template {
	d := byte(codeFalse)
	if durable {
		d = codeTrue
	}
	const list8, priority, size, fields = 0xc0, 4, 4, 2
	return &Template{head: []byte{0, codeSmall, descHeader, list8, size, fields, d, codeUbyte, priority, 0, codeSmall, descData, codeBin32}}
}

// encode appends the sections of a message.
func (t *Template) encode(b, body []byte) []byte {
	b = binary.BigEndian.AppendUint32(append(b, t.head...), uint32(len(body)))
	return append(b, body...)
}

// parseMessage finds the body and whether the message was delivered before.
// Several data sections are joined in buf.
func parseMessage(b, buf []byte) (body []byte, redelivered bool, err error) {
	for sections := 0; len(b) > 0; {
		var v value
		if v, b, err = next(b); err != nil {
			return nil, false, err
		}
		switch v.descriptor {
		case descHeader:
			var f [5]value // delivery-count is the last
			if err := v.fields(f[:]); err != nil {
				return nil, false, err
			}
			redelivered = f[4].number(0) > 0
		case descData:
			if sections++; sections == 1 {
				body = v.bytes
				continue
			}
			if sections == 2 {
				buf = append(buf[:0], body...)
			}
			buf = append(buf, v.bytes...)
			body = buf
		case descValue:
			body = v.bytes
		}
	}
	return body, redelivered, nil
}
