package amqp

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/message"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
	"github.com/selvedge-mq/selvedge/routing"
)

const roomOfTests, sizeOfTests = 1 << 20, 8000

// roomy returns a broker, and a client with a receiving link from the queue q of a node
// where a connection has a room of roomOfTests.
func roomy(t *testing.T, mode frames.SenderSettleMode) (*prototest.Broker, *client) {
	t.Helper()
	broker := prototest.New()
	t.Cleanup(broker.Close)
	nc := piped(t, Options{Env: protocols.Env{
		Broker: broker, Auth: prototest.Users(nil), Log: zerolog.Nop(), Limits: protocols.Limits{InFlightBytes: roomOfTests},
	}})
	ok := nc.SetDeadline(time.Time{})
	c := begin(t, nc, receiver(0, "q", mode))
	if ok != nil {
		t.Fatal(ok)
	}
	return broker, c
}

func receiver(handle uint32, from string, mode frames.SenderSettleMode) *frames.Attach {
	return &frames.Attach{
		Name: from, Handle: handle, Role: frames.RoleReceiver, SndSettleMode: wire.Some(mode),
		Source: &frames.Source{Address: wire.Some(from)}, Target: &frames.Target{},
	}
}

// fill puts numbered messages into a queue.
func fill(broker *prototest.Broker, queue string, count int) {
	for i := range count {
		broker.Inject(routing.Envelope{
			Address: routing.Queue(queue), Encoding: routing.EncodingAMQP,
			Payload: message.AppendData(nil, fmt.Appendf(nil, "n:%d %s", i, strings.Repeat("x", sizeOfTests))),
		})
	}
}

func (c *client) grant(handle, credit uint32, drain bool) {
	c.write(frames.AppendFrame(nil, 0, &frames.Flow{
		NextIncomingID: wire.Some(uint32(0)), IncomingWindow: 1 << 30, OutgoingWindow: 1 << 30,
		Handle: wire.Some(handle), DeliveryCount: wire.Some(uint32(0)), LinkCredit: wire.Some(credit), Drain: drain,
	}))
}

// inOrder reads so many messages, numbered from 0, each for the first time.
func (c *client) inOrder(count int) {
	c.t.Helper()
	for next := 0; next < count; {
		p, payload := c.read()
		if e, is := p.(*frames.Close); is {
			c.t.Fatalf("closed behind %d messages: %v", next, e.Error)
		}
		if _, is := p.(*frames.Transfer); !is {
			continue
		}
		m, err := message.Scan(payload)
		if err != nil {
			c.t.Fatal(err)
		}
		if m.Header != nil || !strings.Contains(string(m.Bare), fmt.Sprintf("n:%d ", next)) {
			c.t.Fatalf("got %.60q with the header %x, want the message %d for the first time", m.Bare, m.Header, next)
		}
		next++
	}
}

// mostHeld is how many messages of the tests a client that reads nothing may cost: what
// there is room for, what is encoded and what is being written.
const mostHeld = roomOfTests/sizeOfTests + 2*(outHigh/sizeOfTests+1)

// Link credit bounds messages, which may be of any size: a client that granted a million
// and read nothing held 2048 of them for each link, 1 GB where they had 512 KB.
func TestAReceiverThatStopsReadingCostsABoundedMemory(t *testing.T) {
	const count = 1000
	for name, mode := range map[string]frames.SenderSettleMode{"unsettled": frames.SenderUnsettled, "settled": frames.SenderSettled} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				broker, c := roomy(t, mode)
				fill(broker, "q", count)
				c.grant(0, 1_000_000, false)
				synctest.Wait()
				if got := count - broker.Depth(routing.Queue("q")); got > mostHeld || got < mostHeld/2 {
					t.Errorf("got %d messages held for a client that reads nothing, want about %d", got, mostHeld)
				}
				c.inOrder(count)
			})
		})
	}
}

// Several links share the room, and each of them goes on.
func TestLinksShareTheRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const count, links = 300, 3
		broker, c := roomy(t, frames.SenderUnsettled)
		fill(broker, "q", count)
		for l := uint32(1); l < links; l++ {
			fill(broker, fmt.Sprint(l), count)
			c.write(frames.AppendFrame(nil, 0, receiver(l, fmt.Sprint(l), frames.SenderUnsettled)))
		}
		for l := range uint32(links) {
			c.grant(l, 1_000_000, false)
		}
		synctest.Wait()
		held := links * count
		for _, q := range []string{"q", "1", "2"} {
			held -= broker.Depth(routing.Queue(q))
		}
		if held > mostHeld {
			t.Errorf("got %d messages held for a client that reads nothing, want at most %d", held, mostHeld)
		}
		for got := 0; got < links*count; {
			if tr, is := first(c.read()).(*frames.Transfer); is && !tr.More {
				got++
			}
		}
	})
}

func first(p frames.Performative, _ []byte) frames.Performative { return p }

// [114] A drain hands out all that there is, though there is no room for it at once.
func TestTransport_2_6_7_ADrainBeyondTheRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const count, credit = 300, 1000
		broker, c := roomy(t, frames.SenderUnsettled)
		fill(broker, "q", count)
		c.grant(0, credit, true)
		synctest.Wait()
		c.inOrder(count)
		for {
			if f, is := first(c.read()).(*frames.Flow); is && f.Drain {
				if f.DeliveryCount.Value != credit || f.LinkCredit.Value != 0 {
					t.Errorf("got the delivery-count %d and the credit %d, want %d and 0", f.DeliveryCount.Value, f.LinkCredit.Value, credit)
				}
				return
			}
		}
	})
}

// A session whose client keeps its window closed does not hold up the others of its
// connection: what waits for it gives the room up.
func TestAClosedWindowGivesTheRoomUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const count = 300
		broker, c := roomy(t, frames.SenderUnsettled)
		fill(broker, "q", count)
		fill(broker, "other", count)
		b := frames.AppendFrame(nil, 1, &frames.Begin{IncomingWindow: 0, OutgoingWindow: 1 << 30, HandleMax: 10})
		b = frames.AppendFrame(b, 1, receiver(0, "other", frames.SenderUnsettled))
		flow := frames.Flow{
			NextIncomingID: wire.Some(uint32(0)), OutgoingWindow: 1 << 30,
			Handle: wire.Some(uint32(0)), DeliveryCount: wire.Some(uint32(0)), LinkCredit: wire.Some(uint32(1_000_000)),
		}
		c.write(frames.AppendFrame(b, 1, &flow))
		synctest.Wait()
		if got := count - broker.Depth(routing.Queue("other")); got > mostHeld {
			t.Errorf("got %d messages held behind a closed window, want at most %d", got, mostHeld)
		}
		c.grant(0, 1_000_000, false)
		c.inOrder(count)
		flow.IncomingWindow = 1 << 30
		c.write(frames.AppendFrame(nil, 1, &flow))
		c.inOrder(count)
	})
}

// A client whose host has gone while it is written to has the time to take one write, or
// the idle time-out if that is over before; then its messages are free.
func TestTransport_2_4_5_AClientThatVanishesWhileItIsWrittenTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker, c := roomy(t, frames.SenderUnsettled)
		fill(broker, "q", 50)
		c.grant(0, 100, false)
		synctest.Wait() // the writer is stuck
		if left := broker.Depth(routing.Queue("q")); left == 50 {
			t.Error("got nothing handed out")
		}
		<-time.After(writeTimeout + 2*closeGrace)
		synctest.Wait()
		if r := broker.Record(); r.Sessions != 0 || broker.Depth(routing.Queue("q")) != 50 {
			t.Errorf("got %d sessions and %d messages back, want the end and all 50", r.Sessions, broker.Depth(routing.Queue("q")))
		}
	})
}
