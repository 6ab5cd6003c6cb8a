package integration

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/integration/disk"
	"github.com/selvedge-mq/selvedge/integration/harness"
	"github.com/selvedge-mq/selvedge/integration/history"
	"github.com/selvedge-mq/selvedge/integration/interop"
)

// cutsOfPower returns how often the power fails.
func cutsOfPower(t *testing.T) int {
	t.Helper()
	const short, whole = 6, 30
	return number(t, "SELVEDGE_CUTS", sized(short, whole))
}

// recordedMost bounds the messages of a recording: a tracer is slow, and each cut
// replays what it saw.
const recordedMost = 2000

// powerQueues are the queues that the recorded node takes messages for.
var powerQueues = []string{"power-0", "power-1", "power-2"}

// recording is what nodes did to their disks, and what they said.
type recording struct {
	nodes     []*harness.Node
	logs      [][]disk.Event      // of each node
	bodies    map[string][]string // queue → bodies that were sent
	confirmed []confirmation
}

// confirmation is a receipt: event number of the node says it.
type confirmation struct {
	body         string
	node, number int
}

// record has nodes traced, which start does, while count messages are sent to
// them with receipts; end ends them.
func record(t *testing.T, nodes []*harness.Node, count int, start, end func()) *recording {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("strace is missing: apt-get install strace")
	}
	trace := func(n *harness.Node) string { return n.Data() + ".trace" }
	for _, n := range nodes {
		n.Options.Before = disk.Command(trace(n))
	}
	start()
	ctx, stomp, l := bounded(t), interop.GoSTOMP{}, newLedger()
	r := &recording{nodes: nodes, bodies: map[string][]string{}}
	const producers = 4
	share := max(1, count/producers/len(powerQueues))
	errs := make(chan error, producers*len(powerQueues))
	for _, queue := range powerQueues {
		for i := range producers {
			bodies := l.bodies(fmt.Sprintf("%s-%d", queue, i), share)
			r.bodies[queue] = append(r.bodies[queue], bodies...)
			to := at(nodes[i%len(nodes)], stomp, queue)
			to.Size = 64 << (4 * (i % 3)) // 64 B, 1 KiB, 16 KiB
			if i == 2 && queue == powerQueues[0] {
				to.Size = 64 << 10 // a log of several blocks
			}
			go func() { errs <- stomp.Stream(ctx, to, interop.All(bodies), l.confirm) }()
		}
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	end()
	if t.Failed() {
		t.FailNow()
	}
	for i, n := range nodes {
		log, err := disk.Load(ctx, trace(n), n.Data())
		if err != nil {
			t.Fatal(err)
		}
		r.logs = append(r.logs, log)
		r.listen(i)
	}
	if want := producers * len(powerQueues) * share; len(r.confirmed) != want {
		t.Fatalf("receipts in the traces: got %d, want %d", len(r.confirmed), want)
	}
	return r
}

// recordOne records a node that runs alone, from its first start to its orderly
// end.
func recordOne(t *testing.T, count int, args ...string) *recording {
	t.Helper()
	n := harness.New(t, harness.Options{Args: args})
	return record(t, []*harness.Node{n}, count, func() { n.Launch(); n.AwaitReady() }, n.Stop)
}

// listen finds the receipts in what a node said. Receipts are named by the
// bodies that they confirm.
func (r *recording) listen(node int) {
	const before, colon = "receipt-id:", `\c`
	heard := map[string][]byte{} // what was said on a socket and is not understood yet
	for i := range r.logs[node] {
		e := &r.logs[node][i]
		if e.Kind != disk.Said {
			continue
		}
		text := slices.Concat(heard[e.Path], e.Data)
		for {
			_, rest, ok := bytes.Cut(text, []byte(before))
			id, rest, ok2 := bytes.Cut(rest, []byte("\n"))
			if !ok || !ok2 {
				break
			}
			body := strings.ReplaceAll(string(id), colon, ":")
			if _, _, ok := history.Split(body); ok { // not that of a DISCONNECT
				r.confirmed = append(r.confirmed, confirmation{body, node, i})
			}
			text = rest
		}
		heard[e.Path] = text
	}
}

// kept returns what was confirmed when the power of each node failed before that
// event of it.
func (r *recording) kept(cuts []int) map[string]bool {
	out := map[string]bool{}
	for _, c := range r.confirmed {
		if c.number < cuts[c.node] {
			out[c.body] = true
		}
	}
	return out
}

// lose makes the folder of a new node that a cut before event i of a recorded
// node leaves.
func (r *recording) lose(t *testing.T, node int, n *harness.Node, mode disk.Mode, i int, rng *rand.Rand) {
	t.Helper()
	m := disk.New(mode)
	for j := range r.logs[node][:i] {
		if err := m.Apply(&r.logs[node][j]); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Lose(n.Data(), rng); err != nil {
		t.Fatal(err)
	}
}

// look receives what there is and judges it by what was confirmed before the cut.
// A queue with confirmed messages must be there, if so asked.
func (r *recording) look(t *testing.T, n *harness.Node, confirmed map[string]bool, must bool) history.Verdict {
	t.Helper()
	h := history.NewRecorder()
	for _, queue := range powerQueues {
		some := false
		for _, body := range r.bodies[queue] {
			h.Add(history.Event{Kind: history.Sending, Queue: queue, Message: body})
			if confirmed[body] {
				some = true
				h.Add(history.Event{Kind: history.Confirmed, Queue: queue, Message: body})
			}
		}
		q, err := harness.Look(n.HTTP, queue)
		if some && must { // its shard may have no leader for a moment, now and again
			q, err = harness.Led(t, n.HTTP, queue), nil
		}
		if err != nil || q.Depth == 0 {
			continue // nothing is there, which the history tells
		}
		amqp := interop.GoAMQP{}
		err = amqp.Receive(bounded(t), at(n, amqp, queue), q.Depth, func(m interop.Message) bool {
			h.Add(history.Event{Kind: history.Received, Queue: queue, Message: m.Body, Marked: m.Redelivered})
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return history.Check(h.Events(), history.Options{OneByOne: powerQueues})
}

// The power fails while a node takes messages, at random points of all that it
// does to its disk, from its first start to its end. What it had confirmed by
// then is there, once, in order.
func TestFaultPowerLoss(t *testing.T) {
	beside(t)
	seed, rng := powerSeed(t)
	r := recordOne(t, min(messages(t)/10, recordedMost))
	events := len(r.logs[0])
	t.Logf("seed %d: %d events, %d messages", seed, events, len(r.confirmed))
	cuts := make([]int, cutsOfPower(t))
	for i := range cuts {
		switch i % 3 {
		case 0: // at any time
			cuts[i] = rng.IntN(events + 1)
		case 1: // close to a confirmation
			cuts[i] = r.confirmed[rng.IntN(len(r.confirmed))].number + rng.IntN(3)
		case 2: // in the first start
			cuts[i] = rng.IntN(r.confirmed[0].number)
		}
	}
	slices.Sort(cuts)
	var all tally
	for i, cut := range cuts {
		mode := []disk.Mode{disk.Journal, disk.Torn}[i%2]
		t.Run(fmt.Sprintf("%v before event %d", mode, cut), func(t *testing.T) {
			n := harness.New(t, harness.Options{})
			r.lose(t, 0, n, mode, cut, rng)
			n.Launch()
			n.AwaitReady()
			v := r.look(t, n, r.kept([]int{cut}), true)
			complain(t, &v)
			all.add(&v)
			measured(t, "power cut (%v) before event %d of %d: %d confirmed, %d there, %d lost",
				mode, cut, events, v.Confirmed, v.Received, len(v.Lost))
		})
	}
	figure(t, fmt.Sprintf("the power of a node alone fails, %d times", len(cuts)), &all, "file systems that keep the name of a synced file", "")
	t.Run("strict", func(t *testing.T) { strictly(t, r, rng) })
	t.Run("with an interval", func(t *testing.T) { seldom(t, rng) })
}

func powerSeed(t *testing.T) (seed uint64, rng *rand.Rand) {
	t.Helper()
	seed = uint64(number(t, "SELVEDGE_SEED", int(time.Now().UnixNano()%1e9)))
	return seed, rand.New(rand.NewPCG(seed, 0))
}

// atLast is where the last message of a recorded node was confirmed.
func (r *recording) atLast() int { return r.confirmed[len(r.confirmed)-1].number + 1 }

// behind returns the event that confirmed the nth message of a queue after event i.
func (r *recording) behind(i int, queue string, nth int) (number int, ok bool) {
	for _, c := range r.confirmed {
		if c.number <= i || !slices.Contains(r.bodies[queue], c.body) {
			continue
		}
		if nth--; nth == 0 {
			return c.number, true
		}
	}
	return 0, false
}

// strictCuts returns where the power fails in the strict mode: when the first message
// and the last one were confirmed, when some were that came right behind each new block
// of the log that has several, and anywhere.
func (r *recording) strictCuts(t *testing.T, rng *rand.Rand) (cuts []int) {
	t.Helper()
	const anywhere = 3
	blocks := 0
	for i := range r.logs[0] {
		e := &r.logs[0][i]
		if e.Kind != disk.Make || !strings.HasSuffix(e.Path, ".blk") || strings.HasSuffix(e.Path, "/1.blk") {
			continue
		}
		blocks++
		for _, later := range []int{1, 8, 16} { // the first ones may stand in the block before
			if number, ok := r.behind(i, powerQueues[0], later); ok {
				cuts = append(cuts, number+1)
			}
		}
	}
	if blocks == 0 {
		t.Error("blocks behind the first one of a log: got none, want some")
	}
	cuts = append(cuts, r.confirmed[0].number+1, r.atLast())
	for range anywhere {
		cuts = append(cuts, r.confirmed[rng.IntN(len(r.confirmed))].number+1)
	}
	slices.Sort(cuts)
	return slices.Compact(cuts)
}

// strictly has the power fail where a name is on disk only when its folder was synced.
// What a node alone has confirmed is there all the same.
func strictly(t *testing.T, r *recording, rng *rand.Rand) {
	t.Helper()
	var all tally
	cuts := r.strictCuts(t, rng)
	for _, cut := range cuts {
		t.Run(fmt.Sprintf("before event %d", cut), func(t *testing.T) {
			n := harness.New(t, harness.Options{})
			r.lose(t, 0, n, disk.Strict, cut, rng)
			n.Launch()
			n.AwaitReady()
			v := r.look(t, n, r.kept([]int{cut}), true)
			complain(t, &v)
			all.add(&v)
			measured(t, "power cut (strict) before event %d: %d confirmed, %d there, %d lost", cut, v.Confirmed, v.Received, len(v.Lost))
		})
	}
	figure(t, fmt.Sprintf("the same, strict, %d times: a new name is lost unless its folder was synced", len(cuts)), &all,
		"all there, also behind new blocks", "")
}

// seldom shows that the model finds what is lost: a node that syncs once an hour
// confirms what is not on disk.
func seldom(t *testing.T, rng *rand.Rand) {
	t.Helper()
	r := recordOne(t, 120, "--sync", "1h")
	n, last := harness.New(t, harness.Options{}), r.atLast()
	r.lose(t, 0, n, disk.Journal, last, rng)
	n.Launch()
	n.AwaitReady()
	v := r.look(t, n, r.kept([]int{last}), false)
	if len(v.Lost) == 0 {
		t.Errorf("lost of %d that were confirmed without a sync: got none, want some", v.Confirmed)
	}
	measured(t, "power cut (sync: 1h): %d confirmed, %d there, %d lost", v.Confirmed, v.Received, len(v.Lost))
}

// The power of all three nodes of a cluster fails at the same moment. What any of
// them had confirmed by then is there, once, in order.
func TestFaultPowerLossOfAll(t *testing.T) {
	beside(t)
	seed, rng := powerSeed(t)
	c := harness.NewCluster(t, 3)
	r := record(t, c.Nodes, min(messages(t)/10, recordedMost)/2, c.StartAll, c.StopAll)
	t.Logf("seed %d: %d messages", seed, len(r.confirmed))
	times := max(1, cutsOfPower(t)/3)
	var all tally
	for i := range times {
		mode := []disk.Mode{disk.Journal, disk.Torn}[i%2]
		last := r.confirmed[rng.IntN(len(r.confirmed))]
		moment := r.logs[last.node][last.number].At + rng.Float64()/1000
		t.Run(fmt.Sprintf("%v, cut %d", mode, i+1), func(t *testing.T) {
			c, cuts := harness.NewCluster(t, 3), make([]int, 3)
			for j, n := range c.Nodes {
				cuts[j] = sort.Search(len(r.logs[j]), func(k int) bool { return r.logs[j][k].At > moment })
				r.lose(t, j, n, mode, cuts[j], rng)
			}
			c.StartAll()
			v := r.look(t, c.Nodes[rng.IntN(3)], r.kept(cuts), true)
			complain(t, &v)
			all.add(&v)
			measured(t, "power cut of all three (%v): %d confirmed, %d there, %d lost", mode, v.Confirmed, v.Received, len(v.Lost))
		})
	}
	figure(t, fmt.Sprintf("the power of all three fails at once, %d times", times), &all, "as above", "")
}
