package history

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Options say what a history is held to beyond what always holds.
type Options struct {
	// Unfinished: consumers stopped before the queues were empty, so what did not
	// arrive is not lost.
	Unfinished bool
	// OneByOne names the queues that never had more than one consumer at a time, so
	// that all messages come in order when they come for the first time. With
	// several, one may have held a message that it never saw, and went, while
	// another got later ones.
	OneByOne []string
	// Once: nothing was disturbed, so nothing may come twice, marked or not.
	Once bool
}

// Verdict is what a history amounts to. The lists name messages, in order.
type Verdict struct {
	Sent, Confirmed, Failed int
	Received                int // different messages
	Again                   int // arrivals of a message that had arrived before, not released
	Caution                 int // first arrivals that were marked
	Returned                int // arrivals of a message that a consumer had released

	Lost       []string // confirmed, and never received
	Phantom    []string // received, and never sent
	Astray     []string // received from another queue than the one that was noted when it was sent
	Doubled    []string // received again without a mark
	Disordered []string // "later before earlier" of one producer, queue and consumer
	Repeated   []string // received again, marked, though Options.Once
	Reused     []string // sent twice under one name: of such a message nothing can be told

	Unanswered int           // sent, and neither confirmed nor failed
	Slowest    time.Duration // the longest from sending to confirmation or error

	Pause   Pause            // the longest in which no producer got a confirmation
	Pauses  map[string]Pause // of each producer
	Silence Pause            // the longest in which no consumer received anything
}

// Pause is a time between two events of a kind with none in between.
type Pause struct {
	From   time.Duration // when the event before it came
	Length time.Duration
}

// breaches are the lists of a verdict that must be empty, with what they mean.
func (v *Verdict) breaches() []struct {
	what string
	list []string
} {
	return []struct {
		what string
		list []string
	}{
		{"confirmed and lost", v.Lost},
		{"received and never sent", v.Phantom},
		{"received from a queue it was not sent to", v.Astray},
		{"received again without a mark", v.Doubled},
		{"out of order", v.Disordered},
		{"received again in an undisturbed run", v.Repeated},
		{"sent under a name that was taken", v.Reused},
	}
}

// listed is how many messages of a breach an error names.
const listed = 10

// Breaches returns a line for each promise that was broken, none if all held.
func (v *Verdict) Breaches() []string {
	var out []string
	for _, b := range v.breaches() {
		if n := len(b.list); n > 0 {
			more := ""
			if n > listed {
				more = " …"
			}
			out = append(out, fmt.Sprintf("%s: got %d, want none: %s%s", b.what, n, strings.Join(b.list[:min(n, listed)], ", "), more))
		}
	}
	return out
}

// String is one line with the sums.
func (v *Verdict) String() string {
	return fmt.Sprintf("sent %d, confirmed %d, unknown %d, unanswered %d, slowest answer %v, received %d, again %d, first and marked %d, lost %d, phantom %d, "+
		"doubled without mark %d, out of order %d, longest pause of all producers %v, of one producer %v, of all consumers %v",
		v.Sent, v.Confirmed, v.Failed, v.Unanswered, v.Slowest.Round(time.Millisecond), v.Received, v.Again, v.Caution, len(v.Lost), len(v.Phantom), len(v.Doubled), len(v.Disordered),
		v.Pause.Length.Round(time.Millisecond), v.LongestPause().Round(time.Millisecond), v.Silence.Length.Round(time.Millisecond))
}

// LongestPause returns the longest that one producer waited between two
// confirmations.
func (v *Verdict) LongestPause() time.Duration {
	var longest time.Duration
	for _, p := range v.Pauses {
		longest = max(longest, p.Length)
	}
	return longest
}

// stream is where order holds: what one connection of a consumer gets from one
// queue of one producer.
type stream struct{ consumer, queue, producer string }

// arrival is a message at a queue: a dead-letter queue is another place.
type arrival struct{ queue, message string }

// first is the first arrival of a message.
type first struct {
	at       time.Duration
	unmarked bool // it, or a later one
}

// sent is what is known of a message from its producer's side.
type sent struct {
	at                                time.Duration
	by                                string // the producer's connection
	queue                             string // empty if that was not noted
	confirmed                         time.Duration
	isConfirmed, isFailed, isReceived bool
}

// answered reports whether the producer was told the end.
func (m *sent) answered() bool { return m.isConfirmed || m.isFailed }

// before reports whether m must come before a message with a greater number of
// the same producer. Order holds within a connection of the producer, and for
// what was confirmed before the other was sent: what failed on a connection may
// come behind what was sent on the next one.
func (m *sent) before(later *sent) bool {
	return m.by == later.by || m.isConfirmed && m.confirmed < later.at
}

// checker goes through a history once.
type checker struct {
	o        Options
	v        Verdict
	sent     map[string]*sent
	arrived  map[arrival]*first
	opened   map[string]time.Duration // when a consumer's connection began
	released map[arrival]int          // times that may come back without a mark
	latest   map[stream]int           // greatest number that came for the first time
	gone     map[string]time.Duration // when a consumer of the queue went or released last
	last     map[string]time.Duration
}

// Check judges a history.
func Check(events []Event, o Options) Verdict {
	c := &checker{
		o: o, sent: map[string]*sent{}, arrived: map[arrival]*first{}, opened: map[string]time.Duration{}, released: map[arrival]int{},
		latest: map[stream]int{}, gone: map[string]time.Duration{}, last: map[string]time.Duration{},
	}
	c.v.Pauses = map[string]Pause{}
	for i := range events {
		c.add(&events[i])
	}
	c.close()
	return c.v
}

func (c *checker) add(e *Event) {
	switch e.Kind {
	case Sending:
		if c.sent[e.Message] != nil {
			c.v.Reused = append(c.v.Reused, e.Message)
		}
		c.sent[e.Message] = &sent{at: e.At, by: e.Client, queue: e.Queue}
	case Confirmed:
		c.confirm(e)
	case Failed:
		m := c.answer(e)
		m.isFailed = true
	case Received:
		if p, ok := c.pause("consumers", e.At); ok && p.Length > c.v.Silence.Length {
			c.v.Silence = p
		}
		c.receive(e)
	case Opened:
		c.opened[e.Client] = e.At
	case Released:
		c.released[arrival{e.Queue, e.Message}]++
		c.gone[e.Queue] = e.At
	case Gone:
		c.gone[e.Queue] = e.At
	case Disconnected, Harmed:
	}
}

func (c *checker) confirm(e *Event) {
	m := c.answer(e)
	m.isConfirmed, m.confirmed = true, e.At
	producer, _, _ := Split(e.Message)
	if p, ok := c.pause("producer "+producer, e.At); ok && p.Length > c.v.Pauses[producer].Length {
		c.v.Pauses[producer] = p
	}
	if p, ok := c.pause("producers", e.At); ok && p.Length > c.v.Pause.Length {
		c.v.Pause = p
	}
}

// answer returns the message that a producer was told the end of. A history may
// be a part of one, which has not seen the sending.
func (c *checker) answer(e *Event) *sent {
	m, ok := c.sent[e.Message]
	if !ok {
		m = &sent{at: e.At, by: e.Client}
		c.sent[e.Message] = m
	}
	if !m.answered() {
		c.v.Slowest = max(c.v.Slowest, e.At-m.at)
	}
	return m
}

// pause returns the time since the event before of that name, if there was one.
func (c *checker) pause(name string, at time.Duration) (Pause, bool) {
	before, ok := c.last[name]
	c.last[name] = at
	return Pause{From: before, Length: at - before}, ok
}

func (c *checker) receive(e *Event) {
	m, ok := c.sent[e.Message]
	if !ok {
		c.v.Phantom = append(c.v.Phantom, fmt.Sprintf("%q", e.Message))
		return
	}
	m.isReceived = true
	if m.queue != "" && m.queue != e.Queue {
		c.v.Astray = append(c.v.Astray, fmt.Sprintf("%s from %q instead of %q", e.Message, e.Queue, m.queue))
	}
	at := arrival{e.Queue, e.Message}
	if f := c.arrived[at]; f != nil {
		c.again(e, at, f)
		return
	}
	c.arrived[at] = &first{at: e.At, unmarked: !e.Marked}
	if e.Marked {
		c.v.Caution++
	}
	c.order(e, m)
}

// order judges the place of a message that comes for the first time.
func (c *checker) order(e *Event, m *sent) {
	alone := slices.Contains(c.o.OneByOne, e.Queue)
	producer, number, _ := Split(e.Message)
	s := stream{e.Client, e.Queue, producer}
	if alone {
		s.consumer = ""
	}
	latest, ok := c.latest[s]
	if !ok || number > latest {
		c.latest[s] = number
		return
	}
	later := ID(producer, latest)
	gone, went := c.gone[e.Queue]
	excused := !alone && (e.Marked || went && gone >= m.at)
	if !excused && m.before(c.sent[later]) {
		c.v.Disordered = append(c.v.Disordered, fmt.Sprintf("%s before %s", later, e.Message))
	}
}

// again judges the arrival of a message that had arrived before. It is marked,
// but for one case: the broker handed it out twice and marked the second time,
// and the first one was longer under way, to a connection that is older.
func (c *checker) again(e *Event, at arrival, f *first) {
	opened, known := c.opened[e.Client]
	overtaken := !f.unmarked && known && opened < f.at
	switch {
	case c.released[at] > 0:
		c.released[at]--
		c.v.Returned++
		return
	case !e.Marked && !overtaken:
		c.v.Doubled = append(c.v.Doubled, e.Message)
	case c.o.Once:
		c.v.Repeated = append(c.v.Repeated, e.Message)
	}
	c.v.Again++
	f.unmarked = f.unmarked || !e.Marked
}

func (c *checker) close() {
	c.v.Sent = len(c.sent)
	for id, m := range c.sent {
		if m.isConfirmed {
			c.v.Confirmed++
		}
		if m.isFailed && !m.isConfirmed {
			c.v.Failed++
		}
		if m.isReceived {
			c.v.Received++
		}
		if !m.answered() {
			c.v.Unanswered++
		}
		if m.isConfirmed && !m.isReceived && !c.o.Unfinished {
			c.v.Lost = append(c.v.Lost, id)
		}
	}
	slices.SortFunc(c.v.Lost, byNumber)
}

func byNumber(a, b string) int {
	pa, na, _ := Split(a)
	pb, nb, _ := Split(b)
	return cmp.Or(cmp.Compare(pa, pb), cmp.Compare(na, nb))
}
