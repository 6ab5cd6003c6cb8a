package stomp

import (
	"net"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
)

// A connection that went to rest took a buffer for its mail and kept it: with ten
// thousand of them a node held 640 MB.
func TestAConnectionAtRestHoldsNoBuffer(t *testing.T) {
	fe, err := New(Options{Env: protocols.Env{Broker: newBroker(t), Auth: prototest.Users{}, Log: zerolog.Nop()}})
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	c := newConn(fe, near)
	c.rest(time.Now())
	if c.m.out != nil {
		t.Errorf("got a buffer of %d bytes held, want none", cap(c.m.out))
	}
}
