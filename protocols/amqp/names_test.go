package amqp

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
)

// [76] A client that comes back by another listener of the node takes its link
// along: each front-end had names of its own.
func TestTransport_2_6_1_StealingByListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker, shared := prototest.New(), new(Names)
		defer broker.Close()
		var listeners [2]*player
		for i := range listeners {
			p := &player{t: t, broker: broker, clients: make(map[string]*actor)}
			p.start(Options{Names: shared, Env: protocols.Env{
				Broker: broker, Auth: prototest.Users(nil), Log: zerolog.Nop(), Node: "n1",
			}})
			listeners[i] = p
			defer p.stop()
		}
		said := func(p *player, line string) string {
			p.do(line)
			synctest.Wait()
			return p.answers(p.client(""))
		}
		for _, p := range listeners {
			said(p, "> AMQP 0 & 0 open container-id=c & 0 begin incoming-window=9 outgoing-window=9")
			got := said(p, "> 0 attach name=d handle=0 role=sender source={} target={address=q durable=2}")
			if !strings.Contains(got, "attach name=d role=receiver") {
				t.Errorf("got %q, want an attach", got)
			}
		}
		first := listeners[0]
		if got := first.answers(first.client("")); !strings.Contains(got, "amqp:link:stolen") {
			t.Errorf("got %q for the first link, want that it was stolen", got)
		}
		first.client("").Close() // so that the table is empty when each is looked at
		listeners[1].client("").Close()
		synctest.Wait()
	})
}

// The session may end while another connection asks for the name: nothing follows
// the end on its channel.
func TestTransport_2_5_5_StolenAfterTheEnd(t *testing.T) {
	c := owned(t)
	s := &session{c: c, handleMax: maxHandle}
	c.sessions.put(0, s)
	if b := s.onAttach(&frames.Attach{
		Name: "d", Role: frames.RoleSender, Source: &frames.Source{},
		Target: &frames.Target{Address: wire.Some("q"), Durable: frames.DurableUnsettled},
	}); b != nil {
		t.Fatal(b)
	}
	l := s.links.get(0).common()
	if b := c.onEnd(0); b != nil {
		t.Fatal(b)
	}
	end := len(c.buf)
	l.contested(&link{s: s})
	if got := c.buf[end:]; len(got) > 0 {
		t.Errorf("got %x behind the end, want nothing", got)
	}
}
