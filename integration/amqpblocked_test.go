package integration

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/Azure/go-amqp"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

// deafConn is a connection whose owner stops reading when it is told to.
type deafConn struct {
	net.Conn
	deaf atomic.Bool
	once sync.Once
	over chan struct{} // closed by Close
}

func (d *deafConn) Read(p []byte) (int, error) {
	n, err := d.Conn.Read(p)
	if d.deaf.Load() {
		<-d.over
		return 0, net.ErrClosed
	}
	return n, err
}

func (d *deafConn) Close() error {
	d.once.Do(func() { close(d.over) })
	return d.Conn.Close()
}

// blockedSender is a producer on the connection of a consumer that settles nothing.
type blockedSender struct {
	nc     *deafConn
	sender *amqp.Sender
}

func newBlockedSender(ctx context.Context, t *testing.T, n *harness.Node, queue string) *blockedSender {
	t.Helper()
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", n.AMQP)
	if err != nil {
		t.Fatal(err)
	}
	b := &blockedSender{nc: &deafConn{Conn: nc, over: make(chan struct{})}}
	t.Cleanup(func() { b.nc.Close() })
	conn, err := amqp.NewConn(ctx, b.nc, &amqp.ConnOptions{SASLType: amqp.SASLTypeAnonymous(), HostName: "broker"})
	if err != nil {
		t.Fatal(err)
	}
	session, err := conn.NewSession(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = session.NewReceiver(ctx, "queue://"+queue, &amqp.ReceiverOptions{Credit: 10}); err != nil {
		t.Fatal(err)
	}
	if b.sender, err = session.NewSender(ctx, "queue://"+queue, nil); err != nil {
		t.Fatal(err)
	}
	return b
}

// flood sends messages of 64 KiB, which are not to be logged, until the node gives no more
// credit for a while, or ends the link, floodMost of them at most. It returns the receipts
// of what went.
func (b *blockedSender) flood(ctx context.Context) (receipts []amqp.SendReceipt) {
	body := []byte(strings.Repeat(".", 64<<10))
	for range floodMost {
		once, cancel := context.WithTimeout(ctx, blockedAfter)
		r, err := b.sender.SendWithReceipt(once, amqp.NewMessage(body), nil)
		cancel()
		if err != nil {
			return receipts
		}
		receipts = append(receipts, r)
	}
	return receipts
}

// outcomes waits for what became of messages; each is told in time.
func outcomes(ctx context.Context, t *testing.T, receipts []amqp.SendReceipt) (accepted int, refusal string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, sendTimeout+answerSlack)
	defer cancel()
	for i, r := range receipts {
		state, err := r.Wait(ctx)
		switch s := state.(type) {
		case *amqp.StateAccepted:
			accepted++
		case *amqp.StateRejected:
			if s.Error == nil || s.Error.Description == "" {
				t.Errorf("message %d of %d: rejected without a reason", i, len(receipts))
				return accepted, ""
			}
			refusal = s.Error.Description
		default:
			t.Errorf("message %d of %d: got the outcome %v, error %v, want accepted or rejected within %v", i, len(receipts), state, err, sendTimeout+answerSlack)
			return accepted, refusal
		}
	}
	return accepted, refusal
}

// A client floods a queue over the very connection that its consumer is on, by AMQP: one
// that reads nothing gets no more credit, one that reads is told what became of each
// message, and why some were refused; others get on meanwhile.
func TestFaultConsumerBehindBlockedProducerOfAMQP(t *testing.T) {
	c, ctx := harness.StartCluster(t, 3), bounded(t)
	queue := ledBy(t, c.Nodes[0], "c", "blocked")
	crowd := newCrowd(t)
	for _, n := range []string{"b", "c"} {
		pinned(crowd, c.Node(n), queue+"-beside")
	}
	deaf := newBlockedSender(ctx, t, c.Node("b"), queue)
	deaf.nc.deaf.Store(true)
	taken := len(deaf.flood(ctx))
	if taken == floodMost {
		t.Errorf("a client that reads nothing: got %d messages taken, want no more credit", taken)
	}
	crowd.afterConfirmed(500)
	deaf.nc.Close()
	harness.Until(t, "the end of the deaf client's subscription", func() (string, bool) {
		q, err := harness.Look(c.Nodes[0].HTTP, queue)
		return fmt.Sprintf("%+v, error %v", q, err), err == nil && q.Consumers == 0
	})
	reads := newBlockedSender(ctx, t, c.Node("b"), queue)
	receipts := reads.flood(ctx)
	accepted, refusal := outcomes(ctx, t, receipts)
	if accepted == 0 || accepted < len(receipts) && refusal == "" {
		t.Errorf("of %d messages of a client that reads: got %d accepted, then %q, want some, and a reason for the others", len(receipts), accepted, refusal)
	}
	measured(t, "consumer behind a blocked producer by AMQP, 64 KiB: %d taken from one that reads nothing; %d, %d accepted and %q from one that reads",
		taken, len(receipts), accepted, refusal)
	crowd.afterConfirmed(500)
	v := crowd.finish()
	complain(t, &v)
	withinBounds(t, "a consumer behind a blocked producer, by AMQP", &v, c.Nodes)
}
