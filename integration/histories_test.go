package integration

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/integration/harness"
	"github.com/selvedge-mq/selvedge/integration/history"
	"github.com/selvedge-mq/selvedge/integration/interop"
)

const (
	// shortHistory and fullHistory are how long the faults of a history go on.
	shortHistory, fullHistory = 15 * time.Second, time.Minute
	// chapterTime is how long they go on until everything comes to rest and is
	// judged: a long history is told in chapters, with clients of its own each.
	chapterTime = 2 * time.Minute
)

// storm does random things to a cluster, one after the other.
type storm struct {
	t       *testing.T
	cluster *harness.Cluster
	network *harness.Network // nil: no cuts
	crowd   *crowd
	rng     *rand.Rand
	counts  map[string]int // of each fault
}

// between returns a random time.
func (s *storm) between(least, most time.Duration) time.Duration {
	return least + time.Duration(s.rng.Int64N(int64(most-least)))
}

// wait lets a random time pass.
func (s *storm) wait(least, most time.Duration) {
	t := time.NewTimer(s.between(least, most))
	defer t.Stop()
	<-t.C
}

// fault is one kind of harm, and its end.
type fault struct {
	name string
	can  func(*storm) bool // nil: always
	do   func(*storm, *harness.Node)
}

// faults are what a storm is made of.
var faults = []fault{
	{"kill", nil, func(s *storm, n *harness.Node) {
		n.Kill()
		s.wait(0, 3*time.Second)
		n.Launch()
	}},
	{"stop", nil, func(s *storm, n *harness.Node) {
		n.Stop()
		s.wait(0, 2*time.Second)
		n.Launch()
	}},
	{"pause", nil, func(s *storm, n *harness.Node) {
		n.Pause()
		s.wait(50*time.Millisecond, 4*time.Second)
		n.Resume()
	}},
	{"kill all", nil, func(s *storm, _ *harness.Node) {
		s.cluster.KillAll()
		for _, n := range s.cluster.Nodes {
			n.Launch()
		}
	}},
	{"isolate", (*storm).networked, func(s *storm, n *harness.Node) {
		s.network.Isolate(n.Options.Host)
		s.wait(100*time.Millisecond, 5*time.Second)
		s.network.Heal()
	}},
	{"cut a pair", (*storm).networked, func(s *storm, n *harness.Node) {
		other := otherThan(s.cluster, n.Name)[s.rng.IntN(2)]
		s.network.Cut(n.Options.Host, other.Options.Host)
		s.wait(100*time.Millisecond, 5*time.Second)
		s.network.Heal()
	}},
	{"thin line", (*storm).networked, func(s *storm, n *harness.Node) {
		s.network.Slow(n.Options.Host, "256kbit")
		s.wait(time.Second, 4*time.Second)
		s.network.Fast(n.Options.Host)
	}},
	{"wipe", nil, func(s *storm, n *harness.Node) {
		s.replaceDisk(n, func() error { return os.RemoveAll(n.Data()) })
	}},
	{"flip a bit", nil, func(s *storm, n *harness.Node) {
		s.replaceDisk(n, func() error {
			if files := recordFiles(s.t, n); len(files) > 0 {
				i := s.rng.IntN(len(files))
				flipIn(s.t, files[i:i+1])
			}
			return nil
		})
	}},
	{"slow disk", func(*storm) bool { return harness.CanSlowDisk() }, func(s *storm, n *harness.Node) {
		fast := n.SlowDisk(s.between(20*time.Millisecond, 500*time.Millisecond))
		s.wait(time.Second, 4*time.Second)
		fast()
	}},
}

func (s *storm) networked() bool { return s.network != nil }

// replaceDisk kills a node and harms what it stores, once it is no longer the only one that
// has something: the others have all that was confirmed, and it is filled from them.
func (s *storm) replaceDisk(n *harness.Node, harm func() error) {
	s.cluster.AwaitHealthy()
	n.Kill()
	if err := harm(); err != nil {
		s.t.Fatal(err)
	}
	n.Launch()
	s.cluster.AwaitHealthy()
}

// rage harms the cluster until the time is over; the last harm is undone.
func (s *storm) rage(lasting time.Duration) {
	s.t.Helper()
	var possible []fault
	for _, f := range faults {
		if f.can == nil || f.can(s) {
			possible = append(possible, f)
		}
	}
	for end := time.Now().Add(lasting); time.Now().Before(end); {
		s.wait(100*time.Millisecond, 2*time.Second)
		f, n := possible[s.rng.IntN(len(possible))], s.cluster.Nodes[s.rng.IntN(3)]
		s.counts[f.name]++
		s.crowd.harm(f.name + " " + n.Name)
		f.do(s, n)
		s.crowd.harm("end of " + f.name)
	}
}

// historyQueues are what the clients work on.
const historyQueues = 3

func historyQueue(q int) string { return fmt.Sprintf("history-%d", q) }

// Random clients of both protocols work on three queues while random things are
// done to the cluster; what they saw is judged. The seed chooses the faults and
// what consumers do; the machine chooses what comes in between, so a seed that
// fails may pass the next time: the history of the failure is kept.
func TestFaultHistories(t *testing.T) {
	seed := uint64(number(t, "SELVEDGE_SEED", int(time.Now().UnixNano()%1e9)))
	lasting := span(t, "SELVEDGE_TIME", sized(shortHistory, fullHistory))
	t.Logf("seed %d, run again with: make histories SEED=%d TIME=%v", seed, seed, lasting)
	s := newStorm(t, seed)
	for q := range historyQueues {
		made(t, s.cluster.Nodes[q], historyQueue(q))
	}
	var all tally
	var longest time.Duration
	begin := time.Now()
	for chapter := 0; ; chapter++ {
		left := lasting - time.Since(begin)
		if left <= 0 {
			break
		}
		v := s.chapter(seed, chapter, min(left, chapterTime))
		complain(t, &v)
		if v.Unanswered > 0 {
			t.Errorf("sends without an answer: got %d, want none", v.Unanswered)
		}
		if t.Failed() {
			t.FailNow() // with this chapter's history, and what is left of the nodes
		}
		all.add(&v)
		longest = max(longest, v.Pause.Length)
		progress(t, "history: %v of %v, seed %d: %s", time.Since(begin).Round(time.Second), lasting, seed, &v)
	}
	pausedAll(t, fmt.Sprintf("random faults for %v, seed %d: %s", lasting, seed, s.done()), &all, longest)
}

// newStorm starts a cluster, on a network that can be cut where that can be done.
func newStorm(t *testing.T, seed uint64) *storm {
	t.Helper()
	s := &storm{t: t, rng: rand.New(rand.NewPCG(seed, 0)), counts: map[string]int{}}
	args := []string{"--max-deliveries", "10000", "--send-timeout", "5s"}
	if harness.NoNetwork() == "" {
		s.network = harness.NewNetwork(t, 3)
		s.cluster = harness.NewClusterOn(t, s.network.Hosts, args...)
	} else {
		s.cluster = harness.NewCluster(t, 3, args...)
	}
	s.cluster.StartAll()
	return s
}

// chapter has a new crowd at work while the storm rages for that time, then waits
// until all is well and everything has been received, and judges.
func (s *storm) chapter(seed uint64, chapter int, lasting time.Duration) history.Verdict {
	s.t.Helper()
	former := s.crowd
	s.crowd = newCrowd(s.t)
	if former != nil {
		s.crowd.expect(unsettled(former.history.Events()))
		former.forget()
	}
	for q := range historyQueues {
		for i, client := range interop.Streamers() {
			name := fmt.Sprintf("%s-%d-%d", client.Protocol(), q, chapter)
			s.crowd.send(sender{
				name: name, client: client, nodes: s.shuffled(), queue: historyQueue(q),
				every: time.Duration(3+s.rng.IntN(10)) * time.Millisecond, window: 1 + s.rng.IntN(50),
			})
			taker := taker{name: name, client: client, nodes: s.shuffled(), queue: historyQueue(q), credit: 1 + s.rng.IntN(200)}
			if q > 0 { // on the first queue order is disturbed by the faults alone
				taker.judge = moody(client, rand.New(rand.NewPCG(seed, uint64(100*chapter+2*q+i+1))))
			}
			s.crowd.take(taker)
		}
	}
	s.rage(lasting)
	s.cluster.AwaitHealthy()
	return s.crowd.finish()
}

// unsettled returns the sends of a history that failed and never arrived: they may
// still come, each once.
func unsettled(events []history.Event) []history.Event {
	open := map[string]history.Event{}
	for i := range events {
		if e := &events[i]; e.Kind == history.Failed {
			open[e.Message] = *e
		}
	}
	for i := range events {
		if e := &events[i]; e.Kind == history.Received || e.Kind == history.Confirmed {
			delete(open, e.Message)
		}
	}
	return slices.Collect(maps.Values(open))
}

// shuffled returns the nodes in a random order.
func (s *storm) shuffled() []*harness.Node {
	out := make([]*harness.Node, len(s.cluster.Nodes))
	for i, j := range s.rng.Perm(len(out)) {
		out[i] = s.cluster.Nodes[j]
	}
	return out
}

// moody makes a consumer that mostly accepts.
func moody(client interop.Streamer, rng *rand.Rand) func(interop.Message) interop.Outcome {
	return func(interop.Message) interop.Outcome {
		n := rng.IntN(1000)
		switch {
		case n < 5:
			return interop.Drop
		case n < 30 && client.Protocol() == interop.AMQP:
			return interop.Release
		case n < 50 && client.Protocol() == interop.AMQP:
			return interop.Fail
		default:
			return interop.Accept
		}
	}
}

// done tells how often each fault was done.
func (s *storm) done() string {
	var words []string
	for _, f := range faults {
		if n := s.counts[f.name]; n > 0 {
			words = append(words, fmt.Sprintf("%s %d", f.name, n))
		}
	}
	return strings.Join(words, ", ")
}
