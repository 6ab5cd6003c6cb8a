package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-stomp/stomp/v3"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

// mover takes tokens out of one queue and sends each on to another one, in one
// transaction, over connections that break.
type mover struct {
	addr  string
	from  string
	to    []string
	moved *atomic.Int64
}

// run moves tokens until ctx ends, and connects again whenever a connection broke.
func (m *mover) run(ctx context.Context) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		if c, err := stomp.Dial("tcp", m.addr, stomp.ConnOpt.HeartBeat(0, 0)); err == nil {
			m.serve(ctx, c)
			_ = c.MustDisconnect()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

func (m *mover) serve(ctx context.Context, c *stomp.Conn) {
	sub, err := c.Subscribe("/queue/"+m.from, stomp.AckClientIndividual, stomp.SubscribeOpt.Header("prefetch-count", "2"))
	if err != nil {
		return
	}
	for {
		select {
		case msg := <-sub.C:
			if msg == nil || msg.Err != nil || !m.move(c, msg) {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func (m *mover) move(c *stomp.Conn, msg *stomp.Message) bool {
	tx, err := c.BeginWithError()
	if err != nil {
		return false
	}
	to := "/queue/" + m.to[rand.IntN(len(m.to))]
	if tx.Ack(msg) != nil || tx.Send(to, "text/plain", msg.Body, stomp.SendOpt.Header("persistent", "true")) != nil || tx.CommitWithReceipt() != nil {
		return false
	}
	m.moved.Add(1)
	return true
}

// Nodes are killed, one after the other, while transactions move tokens between
// queues of three shards: no token is lost, and none is there twice.
func TestFault_TokensOfTransactionsSurviveKilledNodes(t *testing.T) {
	beside(t)
	const tokens = 60
	c := harness.StartCluster(t, 3)
	var queues []string
	for _, leader := range []string{"a", "b", "c"} {
		queues = append(queues, ledBy(t, c.Nodes[0], leader, "tokens."+leader))
	}
	p := dialGoSTOMP(t, c.Nodes[0].STOMP)
	for i := range tokens {
		ok(t, "send", p.Send("/queue/"+queues[i%3], "text/plain", []byte(fmt.Sprint(i)), stomp.SendOpt.Header("persistent", "true"), stomp.SendOpt.Receipt))
	}
	_ = p.MustDisconnect()

	ctx, stop := context.WithCancel(bounded(t))
	var moved atomic.Int64
	var wg sync.WaitGroup
	for _, n := range c.Nodes {
		for _, q := range queues {
			m := &mover{addr: n.STOMP, from: q, to: queues, moved: &moved}
			wg.Go(func() { m.run(ctx) })
		}
	}
	for i := range 2 * rounds(t, shortRounds) {
		before := moved.Load()
		n := c.Nodes[i%3]
		harness.Until(t, "tokens move", func() (string, bool) { return fmt.Sprint(moved.Load()), moved.Load() > before+100 })
		n.Kill()
		harness.Until(t, "tokens move without "+n.Name, func() (string, bool) { return fmt.Sprint(moved.Load()), moved.Load() > before+150 })
		n.Restart()
		c.AwaitHealthy()
	}
	stop()
	wg.Wait()
	measured(t, "%d tokens moved %d times by transactions, through %d kills", tokens, moved.Load(), 2*rounds(t, shortRounds))
	countTokens(t, c.Nodes[1], queues, tokens)
}

// countTokens takes every token out: each must be there once.
func countTokens(t *testing.T, n *harness.Node, queues []string, tokens int) {
	t.Helper()
	total := func() (sum int) {
		for _, q := range queues {
			if seen, err := harness.Look(n.HTTP, q); err == nil {
				sum += seen.Depth
			}
		}
		return sum
	}
	harness.Until(t, "every token is back", func() (string, bool) { return fmt.Sprint(total()), total() == tokens })
	c := dialGoSTOMP(t, n.STOMP)
	seen := map[string]bool{}
	for _, q := range queues {
		depth, err := harness.Look(n.HTTP, q)
		ok(t, "look", err)
		sub, err := c.Subscribe("/queue/"+q, stomp.AckAuto)
		ok(t, "subscribe", err)
		for range depth.Depth {
			msg := <-sub.C
			ok(t, "receive", msg.Err)
			if seen[string(msg.Body)] {
				breached(t, "token %s is there twice", msg.Body)
			}
			seen[string(msg.Body)] = true
		}
	}
	if len(seen) != tokens {
		breached(t, "got %d tokens, want %d", len(seen), tokens)
	}
}
