package amqp

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	goamqp "github.com/Azure/go-amqp"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/amqp/message"
	"github.com/selvedge-mq/selvedge/routing"
)

// pattern returns bytes that are not the same at any two places of a part.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i) ^ byte(i>>8) ^ byte(i>>16)
	}
	return b
}

func TestGoAMQP_LargeMessagesStream(t *testing.T) {
	for _, tt := range []struct {
		name  string
		frame uint32
		size  int
	}{
		{"in frames of 512 bytes", 512, 700_000},
		{"in frames of 64 KiB", 64 << 10, 8 << 20},
		{"in the greatest frames", 1 << 20, 8 << 20},
		{"of whole parts", 128 << 10, 4 * routing.MaxPart},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx := deadline(t)
			broker := memory(t)
			s := dial(t, serve(t, broker, nil), &goamqp.ConnOptions{MaxFrameSize: tt.frame})
			sender, err := s.NewSender(ctx, "q", nil)
			if err != nil {
				t.Fatal(err)
			}
			m := goamqp.NewMessage(pattern(tt.size))
			m.Header = &goamqp.MessageHeader{Durable: true, Priority: 7}
			m.ApplicationProperties = map[string]any{"a": "b"}
			if err := sender.Send(ctx, m, nil); err != nil {
				t.Fatal(err)
			}
			receiver, err := s.NewReceiver(ctx, "q", nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := receiver.Receive(ctx, nil)
			if err != nil {
				t.Fatal(err)
			}
			if sha256.Sum256(got.GetData()) != sha256.Sum256(m.GetData()) {
				t.Errorf("got %d bytes, want the %d that were sent", len(got.GetData()), len(m.GetData()))
			}
			if got.Header == nil || !got.Header.Durable || got.Header.Priority != 7 || got.ApplicationProperties["a"] != "b" {
				t.Errorf("got header %v and properties %v, want what was sent", got.Header, got.ApplicationProperties)
			}
			if err := receiver.AcceptMessage(ctx, got); err != nil {
				t.Fatal(err)
			}
			if n := broker.Record().Read; n < tt.size {
				t.Errorf("got %d bytes that were read, want all %d: it did not stream", n, tt.size)
			}
		})
	}
}

// lines is the codec of an encoding with a line for each property, and a body behind an
// empty one.
type lines struct{}

func (lines) Decode([]byte) (*routing.Message, error) { return nil, errors.New("not a head") }
func (lines) Encode(*routing.Message) ([]byte, error) { return nil, errors.New("not a head") }

func (lines) DecodeHead(head []byte, size int64) (*routing.Message, protocols.Run, error) {
	front, _, ok := bytes.Cut(head, []byte("\n\n"))
	if !ok {
		return nil, protocols.Run{}, errors.New("no empty line")
	}
	m := &routing.Message{Priority: 4}
	for line := range bytes.Lines(front) {
		key, value, _ := strings.Cut(strings.TrimSpace(string(line)), ":")
		add(m, key, value)
	}
	offset := int64(len(front) + 2)
	return m, protocols.Run{Offset: offset, Length: size - offset}, nil
}

func (lines) EncodeHead(*routing.Message, int64) ([]byte, error) {
	return nil, errors.New("no way back")
}

// What a client of another protocol sent is one data section for AMQP clients.
func TestGoAMQP_ALargeMessageOfAnotherProtocol(t *testing.T) {
	body := pattern(1 << 20)
	head := []byte("shape:round\ncolor:red\n\n")
	for _, beyond := range []int{0, 1000} {
		ctx := deadline(t)
		broker := memory(t)
		broker.InjectLarge(routing.Envelope{
			Address: routing.Queue("q"), Encoding: routing.EncodingSTOMP, Payload: append(bytes.Clone(head), body...),
		}, len(head)+beyond)
		s := dial(t, serve(t, broker, nil), nil)
		receiver, err := s.NewReceiver(ctx, "q", nil)
		if err != nil {
			t.Fatal(err)
		}
		m, err := receiver.Receive(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(m.GetData(), body) || m.ApplicationProperties["color"] != "red" {
			t.Errorf("got %d bytes and %v, want the %d that were sent", len(m.GetData()), m.ApplicationProperties, len(body))
		}
	}
}

// The message's own bytes are what was sent, whatever stands in front of them.
func TestALargeMessageIsBitExact(t *testing.T) {
	payload := message.AppendData(frontSections(), pattern(1000))
	h, ok := message.ScanHead(payload)
	if !ok {
		t.Fatal("got no head")
	}
	e := routing.Envelope{Encoding: routing.EncodingAMQP, Payload: payload[:h.Offset], Size: int64(len(payload))}
	m, k, err := openLarge(nil, &e)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := message.Scan(payload)
	if err != nil {
		t.Fatal(err)
	}
	if got := append(bytes.Clone(m.Bare), payload[k.offset:k.end]...); !bytes.Equal(got, whole.Bare) {
		t.Errorf("got the bare message %x, want %x", got, whole.Bare)
	}
	if !bytes.Equal(m.Header, whole.Header) || !bytes.Equal(m.MessageAnnotations, whole.MessageAnnotations) {
		t.Error("got another header or other annotations")
	}
}

// readFrom is a subscription that notes where it is read from.
type readFrom struct {
	routing.Subscription

	offset int64
}

func (r *readFrom) Read(_ routing.Tag, offset int64, _ int, _ routing.PieceSink, _ uint64) {
	r.offset = offset
}

// A link that gives its turn away forgets what it has read, and what is on its way; it
// goes on with the byte behind the last one that it wrote.
func TestALargeMessageGoesOnWhereItWas(t *testing.T) {
	for every := range 7 { // how often it gives its turn away
		text := pattern(4 * routing.MaxPart)
		sub := &readFrom{}
		l := &sending{link: link{s: &session{c: owned(t)}, phase: linkAttached}, sub: sub}
		k := &pieces{l: l, offset: 100, end: int64(len(text))}
		l.cut = cut{active: true, bare: text[:100], pieces: k}
		var got []byte
		for n := 1; len(got) < len(text) && n < 1000; n++ {
			switch {
			case every > 0 && n%(every+4) == 0:
				l.yield()
			case !l.more():
				k.came(&routing.Piece{Offset: sub.offset, Bytes: text[sub.offset:min(sub.offset+routing.MaxPart, k.end)]})
			case l.mayGoOn():
				got = l.cut.append(got, l.frameRoom())
				l.fetch()
			}
			if k.asked && !l.writing && n%2 == 0 { // an answer that comes too late
				k.came(&routing.Piece{Offset: sub.offset, Bytes: text[sub.offset : sub.offset+1]})
			}
		}
		if !bytes.Equal(got, text) {
			t.Errorf("after each %d steps: got %d bytes, not the %d of the message", every, len(got), len(text))
		}
	}
}

func TestTransport_2_6_14_LargeIn(t *testing.T)         { script(t, "largein") }
func TestTransport_2_6_14_LargeInEnds(t *testing.T)     { script(t, "largeends") }
func TestTransport_2_6_14_LargeInHeld(t *testing.T)     { script(t, "largeheld") }
func TestTransport_2_6_14_LargeOut(t *testing.T)        { script(t, "largeout") }
func TestTransport_2_6_14_LargeBreaksOff(t *testing.T)  { script(t, "largestale") }
func TestTransport_2_6_14_LargeIsLate(t *testing.T)     { script(t, "largelate") }
func TestTransport_2_6_14_LargeTakeTurns(t *testing.T)  { script(t, "largeturns") }
func TestTransport_2_6_14_LargeYields(t *testing.T)     { script(t, "largeyields") }
func TestTransport_2_6_14_LargeSettled(t *testing.T)    { script(t, "largesettled") }
func TestTransport_2_6_14_LargeInSessions(t *testing.T) { script(t, "largesessions") }
