package engine_test

import (
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/selvedge-mq/selvedge/internal/metrictest"
	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/engine"
)

const (
	controlBytes = 64 << 10
	manyNames    = 400 // of 1 KiB each
)

// longName is an address of which few fit into a lane.
func longName(i int) string { return strconv.Itoa(i) + strings.Repeat("x", 1000) }

// newControlCluster returns two nodes with a narrow window, and the metrics of a.
func newControlCluster(t *testing.T) (*testCluster, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewRegistry()
	c := newCluster(t, 2, 1, func(o *engine.Options) {
		o.ControlBytes = controlBytes
		if name, _ := o.Peers.Self(); name == "a" {
			o.Metrics = reg
		}
	})
	c.net.window = 16 << 10
	return c, reg
}

// checkReset checks that the connection of a and b ended and began anew, and returns how often.
func checkReset(t *testing.T, c *testCluster, reg *prometheus.Registry) int {
	t.Helper()
	resets := int(metrictest.Value(t, reg, "selvedge_engine_control_resets_total"))
	if resets == 0 {
		t.Error("got no connection ended, however much waits")
	}
	for _, what := range []string{"down b at a", "down a at b"} {
		if n := c.net.turned(what); n != resets {
			t.Errorf("got %q %d times, want %d", what, n, resets)
		}
	}
	for _, what := range []string{"up b at a", "up a at b"} {
		if n := c.net.turned(what); n != resets+1 {
			t.Errorf("got %q %d times, want %d", what, n, resets+1)
		}
	}
	return resets
}

// fillLane subscribes to manyNames addresses while nobody reads, and checks that no more
// waits than may: tokens of the subscriptions begin at first.
func fillLane(t *testing.T, c *testCluster, reg *prometheus.Registry, by *client, named func(string) routing.Address, first uint64) {
	t.Helper()
	unplug := c.net.plug("b")
	most := 0.0
	for i := range manyNames {
		by.s.Subscribe(routing.SubscribeOptions{Address: named(longName(i))}, by, by, first+uint64(i))
		synctest.Wait()
		most = max(most, metrictest.Value(t, reg, "selvedge_engine_control_waiting_bytes"))
	}
	if most < controlBytes/2 || most > controlBytes {
		t.Errorf("got at most %v bytes waiting, want up to %d", most, controlBytes)
	}
	unplug()
	for i := range manyNames {
		if err := by.result(first + uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	checkReset(t, c, reg)
}

// What a portal had to tell a leader whose node read nothing waited without a bound.
func TestControl_ALeaderThatDoesNotReadIsMetAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, reg := newControlCluster(t)
		a, b := c.nodes[0], c.nodes[1]
		b.fabric.Lead(0)
		b.serves(t, 0)
		r, p := a.client(t), b.client(t)
		subscribed(t, r, "q", 1<<20).Grant(1)
		p.send(1, "q", "x", true)
		if err := p.result(1); err != nil {
			t.Fatal(err)
		}
		r.until("the message", func() bool { return len(r.got) == 1 })
		fillLane(t, c, reg, r, routing.Queue, 0)
		p.send(2, longName(manyNames-1), "y", true)
		if err := p.result(2); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		if len(r.got) != 1 {
			t.Errorf("got %d deliveries, want the one that is in flight", len(r.got))
		}
		if now := metrictest.Value(t, reg, "selvedge_engine_control_waiting_bytes"); now != 0 {
			t.Errorf("got %v bytes waiting at last", now)
		}
	})
}

// What a hub and leaders had to tell a node that read nothing waited without a
// bound. The consumers there keep what they have in flight.
func TestControl_ANodeThatDoesNotReadIsMetAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, reg := newControlCluster(t)
		a, b := c.nodes[0], c.nodes[1]
		a.fabric.Lead(0)
		a.serves(t, 0)
		r, p := b.client(t), a.client(t)
		sub := subscribed(t, r, "q", 1)
		sub.Grant(1)
		p.send(1, "q", "x", true)
		r.until("the message", func() bool { return len(r.got) == 1 })
		fillLane(t, c, reg, p, routing.Topic, 10)
		sub.Settle(r.got[0].Tag, accepted, r, 2)
		if err := r.result(2); err != nil {
			t.Errorf("got %v for the settlement of what was in flight all the time", err)
		}
		sub.Grant(1)
		p.send(2, "q", "y", true)
		r.until("the next message", func() bool { return len(r.got) == 2 })
		if d := r.got[1]; string(d.Envelope.Payload) != "y" || d.Redelivered {
			t.Errorf("got %q, redelivered %v", d.Envelope.Payload, d.Redelivered)
		}
		// The topics are told anew, so messages of b come to a.
		r.s.Send(&routing.Envelope{Address: routing.Topic(longName(manyNames - 1)), Encoding: routing.EncodingSTOMP, Payload: []byte("z")}, r, 3)
		if err := r.result(3); err != nil {
			t.Fatal(err)
		}
	})
}

// What a node tells a leader first is as much on each connection: it must not end one.
func TestControl_AReportMayBeLargerThanTheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, reg := newControlCluster(t)
		a, b := c.nodes[0], c.nodes[1]
		a.fabric.Lead(0)
		a.serves(t, 0)
		r := a.client(t)
		for i := range manyNames {
			r.s.Subscribe(routing.SubscribeOptions{Address: routing.Queue(longName(i))}, r, r, uint64(i))
			if err := r.result(uint64(i)); err != nil {
				t.Fatal(err)
			}
		}
		unplug := c.net.plug("b")
		b.fabric.Lead(0)
		<-time.After(2 * time.Second)
		unplug()
		p := b.client(t)
		p.send(1, longName(7), "x", true)
		if err := p.result(1); err != nil {
			t.Fatal(err)
		}
		subscribed(t, r, longName(manyNames), 1<<20) // comes behind the report
		if n := metrictest.Value(t, reg, "selvedge_engine_control_resets_total"); n != 0 || c.net.turned("down b at a") != 0 {
			t.Errorf("got %v connections ended by a report", n)
		}
	})
}
