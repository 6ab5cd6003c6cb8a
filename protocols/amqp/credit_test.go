package amqp

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/message"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/routing"
)

// engineModel is a subscription whose deliveries reach the owner late.
type engineModel struct {
	credit   int64
	ready    int // messages that could be delivered
	underWay []event
	released int
	link     *sending
	payload  []byte
}

func (m *engineModel) Grant(n int32)                   { m.credit = max(0, m.credit+int64(n)) }
func (m *engineModel) Close(routing.Completer, uint64) {}

func (m *engineModel) Read(routing.Tag, int64, int, routing.PieceSink, uint64) {}

func (m *engineModel) Settle(routing.Tag, routing.Outcome, routing.Completer, uint64) {
	m.released++
	m.ready++
}

func (m *engineModel) deliver(n int) {
	n = min(n, int(m.credit), m.ready)
	if n == 0 {
		return
	}
	ds := make([]routing.Delivery, n)
	for i := range ds {
		ds[i].Envelope = routing.Envelope{Encoding: routing.EncodingAMQP, Payload: m.payload}
	}
	m.credit -= int64(n)
	m.ready -= n
	m.underWay = append(m.underWay, event{kind: deliveriesCame, sending: m.link, deliveries: &ds})
}

func (m *engineModel) Drain() {
	m.deliver(m.ready)
	m.underWay = append(m.underWay, event{kind: creditDrained, sending: m.link, n: uint32(m.credit)})
	m.credit = 0
}

// receiverModel is a client that knows what it granted.
type receiverModel struct {
	count, credit uint32
	drains        int // that it waits for
}

func (r *receiverModel) read(t *rapid.T, c *conn) {
	var d frames.Decoder
	for b := c.buf; len(b) > 0; {
		h, err := frames.ParseHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		p, _, err := d.Decode(h.Type, b[h.Body():h.Size])
		if err != nil {
			t.Fatal(err)
		}
		b = b[h.Size:]
		switch p := p.(type) {
		case *frames.Transfer:
			if r.credit == 0 {
				t.Fatal("a transfer beyond the credit")
			}
			r.count++
			r.credit--
		case *frames.Flow:
			if p.Drain {
				if p.LinkCredit.Value != 0 || p.DeliveryCount.Value != r.count+r.credit {
					t.Fatalf("a drain ends with count %d and credit %d, want %d and 0",
						p.DeliveryCount.Value, p.LinkCredit.Value, r.count+r.credit)
				}
				r.count, r.credit, r.drains = p.DeliveryCount.Value, 0, 0
			}
		}
	}
	c.buf = nil
}

// TestCreditIsNeverExceededAndNeverLost plays a client that raises, lowers and
// drains its credit against an engine whose deliveries come late.
func TestCreditIsNeverExceededAndNeverLost(t *testing.T) {
	first := owned(t)
	rapid.Check(t, func(t *rapid.T) {
		c := ownedOn(first.f, first.nc)
		first.f.o.Env.Limits.InFlightBytes = rapid.IntRange(50, 10_000).Draw(t, "room")
		s := &session{c: c, out: outgoing{left: 1 << 30}}
		l := &sending{link: link{s: s, phase: linkAttached, key: linkKey{role: frames.RoleSender}}, returns: true}
		l.self = l
		engine := &engineModel{link: l, payload: message.AppendData(nil, []byte("x"))}
		l.sub = engine
		client := &receiverModel{}
		late := func() {
			events := engine.underWay
			engine.underWay = nil
			for i := range events {
				events[i].apply(c)
			}
			if held, most := c.backlog.held, c.f.o.Env.Limits.InFlightBytes; held > max(most, len(engine.payload)) {
				t.Fatalf("%d octets wait, want at most %d", held, most)
			}
			c.pump()
			c.refill()
			client.read(t, c)
		}
		flow := func(credit uint32, drain bool) {
			client.credit = credit
			fl := frames.Flow{
				Handle: wire.Some(uint32(0)), DeliveryCount: wire.Some(client.count),
				LinkCredit: wire.Some(credit), Drain: drain,
			}
			if l.onFlow(&fl) != nil {
				t.Fatal("the flow is refused")
			}
			client.drains = 0
			if drain {
				client.drains = 1
			}
			c.pump()
			c.refill()
			client.read(t, c)
		}
		for _, step := range rapid.SliceOfN(rapid.IntRange(0, 6), 1, 60).Draw(t, "steps") {
			switch step {
			case 0, 1:
				flow(rapid.Uint32Range(0, 3*grantMax).Draw(t, "credit"), false)
			case 2:
				flow(rapid.Uint32Range(0, 50).Draw(t, "credit"), rapid.Bool().Draw(t, "drain"))
			case 3:
				engine.ready += rapid.IntRange(0, 3000).Draw(t, "messages")
			case 4:
				engine.deliver(rapid.IntRange(0, 3000).Draw(t, "delivered"))
			default:
				late()
			}
		}
		for rest := 0; rest < 20; rest++ { // everything comes to rest
			before := engine.ready
			engine.deliver(engine.ready)
			late()
			if engine.ready != before {
				rest = 0
			}
		}
		if client.drains > 0 {
			t.Fatal("a drain was not answered")
		}
		if engine.ready > 0 && client.credit > 0 {
			t.Fatalf("%d messages wait though the client has a credit of %d; the engine has %d, the link %+v",
				engine.ready, client.credit, engine.credit, l.credit)
		}
		most := int64(min(client.credit, grantMax))
		least := most - grantMax/2 + 1
		if l.credit.short { // what there is room for is less
			least = min(most, int64(c.f.o.Env.Limits.InFlightBytes/len(engine.payload))/2)
		}
		if engine.credit > most || engine.credit < least || most > 0 && engine.credit == 0 {
			t.Fatalf("got an engine's credit of %d, want %d or, of a large credit, a little less", engine.credit, most)
		}
	})
}
