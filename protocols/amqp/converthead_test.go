package amqp

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/selvedge-mq/selvedge/protocols/amqp/message"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/routing"
)

// frontSections returns what a message has in front of its body.
func frontSections() []byte {
	h := message.Header{Durable: true, TTL: wire.Some(uint32(5000))}
	p := message.Properties{MessageID: uint64(7), Subject: wire.Some("s"), CreationTime: wire.Some(wire.Timestamp(1000))}
	b := message.AppendMap(h.Append(nil), message.CodeMessageAnnotations, wire.Map{{Key: wire.Symbol("x-opt-a"), Value: "v"}})
	return message.AppendMap(p.Append(b), message.CodeApplicationProperties, wire.Map{{Key: "count", Value: int32(3)}})
}

func TestAHeadConvertsAsTheWholeMessageDoes(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789"), 100)
	for _, tt := range []struct {
		name    string
		payload []byte
	}{
		{"a data section", message.AppendData(frontSections(), body)},
		{"a binary", message.AppendValue(frontSections(), body)},
		{"a text", message.AppendText(frontSections(), body)},
		{"no other section", message.AppendData(nil, body)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want, err := Codec{}.Decode(tt.payload)
			if err != nil {
				t.Fatal(err)
			}
			for _, beyond := range []int{0, 1, len(body)} {
				head := tt.payload[:len(tt.payload)-len(body)+beyond]
				got, run, err := Codec{}.DecodeHead(head, int64(len(tt.payload)))
				if err != nil {
					t.Fatal(err)
				}
				if b := tt.payload[run.Offset : run.Offset+run.Length]; !bytes.Equal(b, body) {
					t.Errorf("got a body of %d bytes at %d, want %d", run.Length, run.Offset, len(body))
				}
				got.Body = body
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("got another view:\n%s", diff)
				}
			}
			again, err := Codec{}.EncodeHead(want, int64(len(body)))
			if err != nil {
				t.Fatal(err)
			}
			got, err := Codec{}.Decode(append(again, body...))
			if err != nil {
				t.Fatal(err)
			}
			want.BodyKind = routing.BodyBytes // that text is valid cannot be seen
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("got another message:\n%s", diff)
			}
		})
	}
}

func TestHeadsThatCannotBeConverted(t *testing.T) {
	data := message.AppendData(frontSections(), make([]byte, 1000))
	footer := message.AppendMap(nil, message.CodeFooter, wire.Map{{Key: wire.Symbol("f"), Value: "v"}})
	for _, tt := range []struct {
		name, want string
		head       []byte
		size       int
	}{
		{"a list", "neither data", message.AppendValue(frontSections(), wire.List{"a", "b"}), 5000},
		{"two data sections", "first body section ends", data, len(data) + 500},
		{"a footer", "first body section ends", data, len(data) + len(footer)},
		{"sections that are cut", "does not reach", frontSections()[:20], 5000},
		{"no body", "does not reach", frontSections(), 5000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := Codec{}.DecodeHead(tt.head, int64(tt.size))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := (Codec{}).EncodeHead(&routing.Message{}, 1<<32); err == nil {
		t.Error("got no error, want one: a section has less than 4 GiB")
	}
}
