package stomp

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
	"github.com/selvedge-mq/selvedge/routing"
)

// injectSections puts a large message of another protocol into queue a, whose body is
// not one run of bytes, and returns its payload.
func injectSections(s *stage, size int) []byte {
	s.fe.env.Codecs[routing.EncodingAMQP] = headCodec{}
	payload := append([]byte("sections"), pattern(size-8, true)...)
	s.broker.InjectLarge(routing.Envelope{Address: routing.Queue("a"), Encoding: routing.EncodingAMQP, Priority: 7, Payload: payload}, 100)
	return payload
}

// A large message whose body is not one run of bytes was a dead letter however small
// it was. It is converted as a whole if the node takes such messages as a whole.
func TestLarge_SectionsAreGathered(t *testing.T) {
	const limit = 1 << 20
	for _, c := range []struct {
		name, ack string
		size      int
		dead      bool
	}{
		{name: "acknowledged", ack: "client-individual", size: limit},
		{name: "auto", ack: "auto", size: limit - 7},
		{name: "one octet too many", ack: "auto", size: limit + 1, dead: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStageOf(t, Options{Env: protocols.Env{Auth: prototest.Users{}, Limits: protocols.Limits{MessageSize: limit}}})
				defer s.close()
				want := injectSections(s, c.size)
				s.broker.Inject(routing.Envelope{Address: routing.Queue("a"), Encoding: routing.EncodingSTOMP, Payload: []byte("destination:/queue/a\n\nsmall")})
				p := s.peer("")
				p.say(t, []byte(connect12+subscribeA+"ack:"+c.ack+"\n\n\x00"))
				<-time.After(time.Second)
				got, _ := p.take()
				heads, bodies := messages(got)
				if c.dead {
					if len(heads) != 2 || s.broker.Depth(prototest.DeadLetters) != 1 {
						t.Errorf("got %q and %d dead letters, want it among them", heads, s.broker.Depth(prototest.DeadLetters))
					}
					return
				}
				if len(heads) != 3 || !strings.Contains(heads[1], "type:greeting") || !bytes.Equal(bodies[1], want) || string(bodies[2]) != "small" {
					t.Fatalf("got %q, want the large message and the small one behind it", heads)
				}
				if c.ack != "auto" {
					p.say(t, []byte("ACK\nid:ID-0-1\n\n\x00ACK\nid:ID-0-2\n\n\x00"))
				}
				synctest.Wait()
				if r := s.broker.Record(); len(r.Settled) != 2 || r.Settled[0].Outcome.Kind != routing.Accepted {
					t.Errorf("got %+v, want both accepted", r.Settled)
				}
			})
		})
	}
}

// asked is a subscription that answers no read, and keeps what it is told.
type asked struct {
	nowhereToo
	to       routing.PieceSink
	outcomes []routing.Outcome
	granted  int32
}

func (a *asked) Read(_ routing.Tag, _ int64, _ int, to routing.PieceSink, _ uint64) { a.to = to }
func (a *asked) Grant(n int32)                                                      { a.granted += n }

func (a *asked) Settle(_ routing.Tag, o routing.Outcome, _ routing.Completer, _ uint64) {
	a.outcomes = append(a.outcomes, o)
}

// Until a message is there as a whole the client has nothing of it: whatever happens
// gives it back, and the connection goes on.
func TestLarge_GatheringBreaksOff(t *testing.T) {
	failed := func(code routing.Code) func(*machine, *asked) {
		return func(m *machine, a *asked) {
			a.to.Piece(routing.Piece{Err: &routing.Error{Code: code, Op: "read"}})
			for _, e := range m.events.Take(nil) {
				e.run(m)
			}
			m.grantAgain()
		}
	}
	for _, c := range []struct {
		name    string
		happen  func(m *machine, a *asked)
		outcome routing.Outcome
		granted int32
	}{
		{"no piece in time", failed(routing.CodeTimeout), routing.Outcome{Kind: routing.Released}, 1},
		{"no leader", failed(routing.CodeUnavailable), routing.Outcome{Kind: routing.Released}, 1},
		{"nothing that can be read", failed(routing.CodeInvalid), routing.Outcome{Kind: routing.Modified, DeliveryFailed: true}, 1},
		{"the subscription ends", func(m *machine, _ *asked) { m.giveBack(nil) }, routing.Outcome{Kind: routing.Released}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, a := benchMachine(t, &nowhere{}), &asked{}
			m.fe.env.Codecs = routing.Codecs{routing.EncodingAMQP: headCodec{}}
			s := &subscription{sub: a, events: m.events, mode: ackIndividual, number: 1}
			m.backlog.push(delivery{sub: s, d: routing.Delivery{Envelope: routing.Envelope{
				Address: routing.Queue("a"), Encoding: routing.EncodingAMQP, Payload: []byte("sections"), Size: 1 << 20,
			}}})
			small := routing.Envelope{Address: routing.Queue("a"), Encoding: routing.EncodingSTOMP, Payload: []byte("destination:/queue/a\n\nsmall")}
			other := &subscription{sub: &asked{}, mode: ackIndividual, number: 2}
			m.backlog.push(delivery{sub: other, d: routing.Delivery{Envelope: small}})
			m.pump()
			if a.to == nil || len(m.out) > 0 || m.outgoing != nil {
				t.Fatalf("got %q written, want a piece to be asked for first", m.out)
			}
			late := a.to
			c.happen(m, a)
			if diff := cmp.Diff([]routing.Outcome{c.outcome}, a.outcomes); diff != "" || a.granted != c.granted {
				t.Errorf("got credit %d, want %d, and (-want +got):\n%s", a.granted, c.granted, diff)
			}
			late.Piece(routing.Piece{Offset: 8, Bytes: make([]byte, 1<<20-8)})
			for _, e := range m.events.Take(nil) {
				e.run(m)
			}
			m.pump()
			if m.state != stateOpen || bytes.Contains(m.out, []byte("greeting")) || len(a.outcomes) != 1 {
				t.Errorf("got state %v, %q and %+v, want nothing to come of a late piece", m.state, m.out, a.outcomes)
			}
			if c.granted > 0 && !bytes.Contains(m.out, []byte("small")) {
				t.Errorf("got %q, want the message behind it", m.out)
			}
		})
	}
}
