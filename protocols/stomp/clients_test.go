package stomp

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
	"github.com/selvedge-mq/selvedge/routing"
)

// named is a front-end whose clients have names.
func named(t *testing.T, o Options, users prototest.Users) *stage {
	t.Helper()
	o.Env = protocols.Env{Auth: users}
	return newStageOf(t, o)
}

// login connects a client as a user and returns what it got.
func (s *stage) login(name, user string) string {
	s.t.Helper()
	return s.say(name, fmt.Sprintf("CONNECT\naccept-version:1.2\nhost:/\nclient-id:c\nlogin:%s\npasscode:p\n\n\x00", user))
}

// say sends a frame and returns what has come when nothing moves any more.
func (s *stage) say(name, text string) string {
	s.t.Helper()
	p := s.peer(name)
	if _, err := io.WriteString(p.nc, text); err != nil {
		s.t.Fatal(err)
	}
	return s.heard(name)
}

func (s *stage) heard(name string) string {
	synctest.Wait()
	got, closed := s.peers[name].take()
	if closed {
		got += "closed"
	}
	return got
}

func wantIn(t *testing.T, what, got, want string) {
	t.Helper()
	if !strings.Contains(got, want) {
		t.Errorf("%s: got %q, want %q in it", what, got, want)
	}
}

var refusing = Switches{ClientIDs: ClientIDsRefuse}

// A client that comes back at once may overtake its own end, which is waited for.
func TestSTOMP_Connect_22_WhoGoesIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := named(t, Options{Switches: refusing}, nil)
		defer s.close()
		wantIn(t, "the first", s.login("1", "alice"), "CONNECTED\n")
		if got := s.login("2", "alice"); got != "" {
			t.Errorf("the second: got %q before the first went, want nothing", got)
		}
		<-time.After(clientPatience / 2)
		s.peers["1"].nc.Close()
		wantIn(t, "the second", s.heard("2"), "CONNECTED\n")
		if n := len(s.fe.clients.held); n != 1 {
			t.Errorf("got %d client-ids in use, want 1", n)
		}
		s.peers["2"].nc.Close()
		synctest.Wait()
		if n := len(s.fe.clients.held); n != 0 {
			t.Errorf("got %d client-ids in use when all have gone, want 0", n)
		}
	})
}

// A connection that ends while it waits for its client-id takes nothing.
func TestSTOMP_Connect_22_WhoGoesWhileItWaitsTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := named(t, Options{Switches: refusing}, nil)
		defer s.close()
		s.login("1", "alice")
		s.login("2", "alice")
		s.peers["2"].nc.Close()
		synctest.Wait()
		s.peers["1"].nc.Close()
		wantIn(t, "the third", s.login("3", "alice"), "CONNECTED\n")
	})
}

// A login that fails behind the claim gives the client-id back.
func TestSTOMP_Connect_22_FreeBehindASessionThatDidNotOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := named(t, Options{Switches: refusing}, nil)
		defer s.close()
		s.direct("fail open x no room")
		wantIn(t, "a session that does not open", s.login("1", "alice"), "ERROR\nmessage:no room\n")
		if n := len(s.fe.clients.held); n != 0 {
			t.Errorf("got %d client-ids in use, want 0", n)
		}
	})
}

// Under the dialect activemq the second connection of a user ends the first, whose sends are
// confirmed before; that of another user is refused and learns no address.
func TestSTOMP_Connect_22_TakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := named(t, Options{}, prototest.Users{"alice": "p", "bob": "p"})
		defer s.close()
		wantIn(t, "the first", s.login("1", "alice"), "CONNECTED\n")
		s.broker.Hold()
		s.say("1", "SEND\ndestination:/queue/a\nreceipt:r\n\nx\x00")
		wantIn(t, "the second", s.login("2", "alice"), "CONNECTED\n")
		s.broker.Release()
		wantIn(t, "the first", s.heard("1"), "receipt-id:r\n\n\x00\nERROR\nmessage:another connection has taken over the client-id\n")
		wantIn(t, "another user", s.login("3", "bob"), "")
		<-time.After(clientPatience)
		wantIn(t, "another user", s.heard("3"), "message:Broker: n - Client: c already connected by another user\n")
		wantIn(t, "the second", s.say("2", "DISCONNECT\nreceipt:d\n\n\x00"), "receipt-id:d\n")
		if n := s.broker.Depth(routing.Queue("a")); n != 1 {
			t.Errorf("got %d messages, want 1", n)
		}
		if n := len(s.fe.clients.held); n != 0 {
			t.Errorf("got %d client-ids in use when all have gone, want 0", n)
		}
	})
}

// All listeners of a node share the client-ids, but those that do not count them.
func TestSTOMP_Connect_22_ListenersShareTheClientIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := new(Clients)
		one, two := named(t, Options{Clients: shared, Switches: refusing}, nil), named(t, Options{Clients: shared, Switches: refusing}, nil)
		free := named(t, Options{Clients: shared, Dialect: RabbitMQ}, nil)
		defer one.close()
		defer two.close()
		defer free.close()
		wantIn(t, "the first", one.login("1", "alice"), "CONNECTED\n")
		wantIn(t, "of a dialect that does not count", free.login("1", "alice"), "CONNECTED\n")
		two.login("1", "alice")
		<-time.After(clientPatience)
		wantIn(t, "the second", two.heard("1"), "ERROR\nmessage:Broker: n - Client: c already connected from tcp://pipe\n")
	})
}

// An ERROR does not repeat all of a client-id that is no name.
func TestSTOMP_Connect_22_AHugeClientIDIsCut(t *testing.T) {
	c := &conn{fe: &Frontend{}}
	who := &claim{id: strings.Repeat("x", 10_000)}
	if err := c.taken(who, who); len(err.Error()) > 2*maxClientText {
		t.Errorf("got %d octets, want at most %d", len(err.Error()), 2*maxClientText)
	}
}
