package sim_test

import (
	"cmp"
	"container/heap"
	"fmt"
	"hash"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// scheduler runs one event after the other, each at a virtual instant of its own,
// and waits in between until every goroutine of the engines is at rest. All that
// engines do to their surroundings is collected at that moment, put into an order
// that does not depend on the goroutines, and becomes events again.
type scheduler struct {
	rng     *rand.Rand
	start   time.Time
	quiesce func() // returns when no goroutine of the run can go on
	events  events
	taken   map[time.Duration]bool
	kick    chan struct{} // an engine did something while the scheduler waited
	stopped bool

	mu      sync.Mutex
	outputs []output

	digest hash.Hash64
	count  int
	trace  bool     // keep every line
	lines  []string // the last ones, if trace
}

// event is something that happens at an instant.
type event struct {
	at  time.Duration
	run func()
}

type events []event

func (h events) Len() int           { return len(h) }
func (h events) Less(i, j int) bool { return h[i].at < h[j].at }
func (h events) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *events) Push(x any)        { *h = append(*h, x.(event)) }
func (h *events) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = event{}
	*h = old[:len(old)-1]
	return x
}

// source says where an output comes from. Outputs of one source are in order;
// those of different sources, made in the same instant, are sorted by it.
type source struct {
	kind             outputKind
	node, to         int
	lane, shard, who int
}

// outputKind is what an engine did to its surroundings.
type outputKind int

const (
	outCallback outputKind = iota
	outHandover
	outAppend
	outCall
	outMessage
	outConsumed
	outReset
)

type output struct {
	from source
	run  func()
}

func compareSources(a, b source) int {
	return cmp.Or(
		cmp.Compare(a.kind, b.kind), cmp.Compare(a.node, b.node), cmp.Compare(a.to, b.to),
		cmp.Compare(a.lane, b.lane), cmp.Compare(a.shard, b.shard), cmp.Compare(a.who, b.who),
	)
}

func newScheduler(seed uint64, quiesce func()) *scheduler {
	return &scheduler{
		rng:     rand.New(rand.NewPCG(seed, 0x5e1fed9e)),
		start:   time.Now(),
		quiesce: quiesce,
		taken:   map[time.Duration]bool{},
		kick:    make(chan struct{}, 1),
		digest:  fnv.New64a(),
	}
}

// now is the time since the run began.
func (s *scheduler) now() time.Duration { return time.Since(s.start) }

// after has f run d from now.
func (s *scheduler) after(d time.Duration, f func()) { s.at(s.now()+max(d, 1), f) }

// at has f run at an instant, or right behind it: no other event has the same one.
func (s *scheduler) at(at time.Duration, f func()) {
	for s.taken[at] {
		at++
	}
	s.taken[at] = true
	heap.Push(&s.events, event{at: at, run: f})
}

// between draws a duration.
func (s *scheduler) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(s.rng.Int64N(int64(hi-lo)))
}

func (s *scheduler) chance(p float64) bool { return s.rng.Float64() < p }

// emit hands over what an engine did. It may be called from any goroutine.
func (s *scheduler) emit(from source, run func()) {
	s.mu.Lock()
	s.outputs = append(s.outputs, output{from, run})
	s.mu.Unlock()
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// settle waits for rest, and takes in what was done until then.
func (s *scheduler) settle() {
	for {
		s.quiesce()
		s.mu.Lock()
		outs := s.outputs
		s.outputs = nil
		s.mu.Unlock()
		if len(outs) == 0 {
			return
		}
		slices.SortStableFunc(outs, func(a, b output) int { return compareSources(a.from, b.from) })
		for _, o := range outs {
			o.run()
		}
	}
}

// run runs events until stop is called or none is left.
func (s *scheduler) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		s.settle()
		if s.stopped || len(s.events) == 0 {
			return
		}
		if d := s.events[0].at - s.now(); d > 0 {
			timer.Reset(d)
			select {
			case <-timer.C:
			case <-s.kick:
			}
			continue
		}
		e, _ := heap.Pop(&s.events).(event)
		delete(s.taken, e.at)
		e.run()
	}
}

// stop ends run.
func (s *scheduler) stop() { s.stopped = true }

// notef adds a line to the trace, whose digest tells runs apart.
func (s *scheduler) notef(format string, args ...any) {
	s.count++
	line := fmt.Appendf(nil, "%12.6f ", s.now().Seconds())
	line = fmt.Appendf(line, format, args...)
	_, _ = s.digest.Write(line) // never fails
	if s.trace {
		s.lines = append(s.lines, string(line))
	}
}
