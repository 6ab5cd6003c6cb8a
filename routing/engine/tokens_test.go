package engine_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
	"github.com/selvedge-mq/selvedge/routing/memlog"
)

// mover takes tokens out of its queue and sends each on to another one, in one
// transaction.
type mover struct {
	*client
	subs  map[routing.Address]routing.Subscription
	to    []string
	rng   *rand.Rand
	token uint64
}

// work moves what was delivered until ctx ends.
func (m *mover) work(ctx context.Context) {
	for done := 0; ctx.Err() == nil; {
		m.mu.Lock()
		pending := slices.Clone(m.got[done:])
		m.mu.Unlock()
		done += len(pending)
		for _, d := range pending {
			m.move(d)
		}
		select {
		case <-m.news:
		case <-ctx.Done():
		}
	}
}

func (m *mover) move(d routing.Delivery) {
	tx := m.s.Begin()
	sub := m.subs[d.Envelope.Address]
	tx.Settle(sub, d.Tag, accepted)
	sub.Grant(1)
	m.sendIn(tx, 0, m.to[m.rng.IntN(len(m.to))], string(d.Envelope.Payload))
	m.token++
	tx.Commit(m, m.token)
	if m.rng.IntN(3) > 0 { // sometimes several are under way
		m.within(5*time.Second, func() bool { _, ok := m.results[m.token]; return ok })
	}
}

// Tokens are moved between queues of several shards by transactions, while leaders
// change and nodes are cut off: no token is ever lost or doubled.
func TestTransaction_NoTokenIsLostOrDoubled(t *testing.T) {
	const tokens, shards = 30, 3
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	c := newCluster(t, 3, shards, func(o *engine.Options) { o.SendTimeout = 2 * time.Second })
	for i := range shards {
		c.nodes[i].fabric.Lead(i)
	}
	queues := make([]string, shards)
	for i := range queues {
		queues[i] = c.nodes[0].queueIn(t, i)
	}
	p := c.nodes[0].client(t)
	for i := range tokens {
		p.send(uint64(1000+i), queues[i%shards], fmt.Sprint(i), true)
	}
	for i := range tokens {
		if err := p.result(uint64(1000 + i)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Second)
	defer stop()
	ended := make(chan struct{}, 3)
	for i, n := range c.nodes {
		m := &mover{client: n.client(t), to: queues, rng: rand.New(rand.NewPCG(seed, uint64(2+i))), token: 100, subs: map[routing.Address]routing.Subscription{}}
		for k, q := range queues {
			sub := subscribed(t, m.client, q, uint64(1+k))
			sub.Grant(4)
			m.subs[routing.Queue(q)] = sub
		}
		go func() {
			m.work(ctx)
			m.s.Close()
			ended <- struct{}{}
		}()
	}
	disturb(ctx, c, rng)
	for range c.nodes {
		<-ended
	}
	n := c.nodes[0]
	n.wantDepths(t, "every token", func(d map[string]int) bool {
		total := 0
		for _, depth := range d {
			total += depth
		}
		return total == tokens
	})
	r := n.client(t)
	for k, q := range queues {
		subscribed(t, r, q, uint64(1+k)).Grant(2 * tokens)
	}
	r.until("every token", func() bool {
		seen := map[string]int{}
		for _, body := range r.bodies() {
			seen[body]++
		}
		if n := slices.Max(append(slices.Collect(maps.Values(seen)), 0)); n > 1 {
			t.Fatalf("a token is there %d times: %v", n, seen)
		}
		return len(seen) == tokens
	})
}

// disturb moves leaders, loses appends and their answers, and cuts nodes off, until
// ctx ends.
func disturb(ctx context.Context, c *testCluster, rng *rand.Rand) {
	var appends atomic.Int32
	for _, n := range c.nodes {
		for shard := range n.fabric.Shards() {
			n.fabric.View(shard).SetHook(func(op memlog.Op) memlog.Fault {
				if op.Kind != memlog.Append || appends.Add(1)%100 != 0 {
					return memlog.Fault{}
				}
				return memlog.Fault{Err: memlog.ErrTimeout, Lose: appends.Load()%200 == 0, LoseAnswer: true}
			})
			defer n.fabric.View(shard).Mend()
		}
	}
	tick := time.NewTicker(40 * time.Millisecond)
	defer tick.Stop()
	cut := ""
	for i := 0; ctx.Err() == nil; i++ {
		select {
		case <-ctx.Done():
		case <-tick.C:
			n := c.nodes[rng.IntN(len(c.nodes))]
			n.fabric.Lead(rng.IntN(n.fabric.Shards()))
			switch i % 8 {
			case 3:
				cut = n.peers.node
				c.net.sever(cut)
			case 7:
				c.net.rejoin(cut)
				cut = ""
			}
		}
	}
	if cut != "" {
		c.net.rejoin(cut)
	}
}
