package history

import (
	"bytes"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The shorthands of the tables.
func sending(id string) Event   { return Event{Kind: Sending, Message: id} }
func confirmed(id string) Event { return Event{Kind: Confirmed, Message: id} }
func failed(id string) Event    { return Event{Kind: Failed, Message: id} }

func received(consumer, id string) Event {
	return Event{Kind: Received, Client: consumer, Queue: "q", Message: id}
}

func marked(consumer, id string) Event {
	e := received(consumer, id)
	e.Marked = true
	return e
}

// good are messages that were sent and confirmed.
func good(producer string, n int) []Event {
	var out []Event
	for i := range n {
		out = append(out, sending(ID(producer, i)), confirmed(ID(producer, i)))
	}
	return out
}

func released(consumer, id string) Event {
	return Event{Kind: Released, Client: consumer, Queue: "q", Message: id}
}

func gone(consumer string) Event { return Event{Kind: Gone, Client: consumer, Queue: "q"} }

// over is a message that is sent over another connection of its producer.
func over(connection, id string) Event {
	return Event{Kind: Sending, Client: connection, Message: id, At: 1}
}

func opened(consumer string) Event { return Event{Kind: Opened, Client: consumer} }

// at puts events at a time.
func at(when time.Duration, events ...Event) []Event {
	for i := range events {
		events[i].At = when
	}
	return events
}

func with(before []Event, more ...Event) []Event { return append(before, more...) }

func TestHistoriesThatMustBeRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		events []Event
		o      Options
		want   string
	}{
		{
			"a confirmed message never arrives",
			with(good("p", 2), received("c", "p:0")),
			Options{},
			"confirmed and lost: got 1, want none: p:1",
		},
		{
			"two messages have one name",
			with(good("p", 2), sending("p:1"), received("c", "p:0"), received("c", "p:1")),
			Options{},
			"sent under a name that was taken: got 1, want none: p:1",
		},
		{
			"a message arrives from another queue than it was sent to",
			[]Event{{Kind: Sending, Queue: "r", Message: "p:0"}, confirmed("p:0"), received("c", "p:0")},
			Options{},
			`received from a queue it was not sent to: got 1, want none: p:0 from "q" instead of "r"`,
		},
		{
			"many are lost",
			good("p", 12),
			Options{},
			"confirmed and lost: got 12, want none: p:0, p:1, p:2, p:3, p:4, p:5, p:6, p:7, p:8, p:9 …",
		},
		{
			"a message that was confirmed after an error never arrives",
			[]Event{sending("p:0"), failed("p:0"), confirmed("p:0")},
			Options{},
			"confirmed and lost: got 1, want none: p:0",
		},
		{
			"a message arrives that nobody sent",
			with(good("p", 1), received("c", "p:0"), received("c", "p:1")),
			Options{},
			`received and never sent: got 1, want none: "p:1"`,
		},
		{
			"a message arrives before it was sent",
			[]Event{received("c", "p:0"), sending("p:0")},
			Options{},
			`received and never sent: got 1, want none: "p:0"`,
		},
		{
			"a message comes twice without a mark",
			with(good("p", 1), received("c", "p:0"), received("d", "p:0")),
			Options{},
			"received again without a mark: got 1, want none: p:0",
		},
		{
			"a message of unknown outcome comes twice without a mark",
			[]Event{sending("p:0"), failed("p:0"), received("c", "p:0"), received("c", "p:0")},
			Options{},
			"received again without a mark: got 1, want none: p:0",
		},
		{
			"the mark at the first time does not excuse the second",
			with(good("p", 1), marked("c", "p:0"), received("c", "p:0")),
			Options{},
			"received again without a mark: got 1, want none: p:0",
		},
		{
			"one consumer gets the messages of a producer in another order",
			with(good("p", 3), received("c", "p:1"), received("c", "p:0"), received("c", "p:2")),
			Options{},
			"out of order: got 1, want none: p:1 before p:0",
		},
		{
			"one consumer at a time, and marked messages come in another order",
			with(good("p", 2), received("c", "p:1"), marked("d", "p:0")),
			Options{OneByOne: []string{"q"}},
			"out of order: got 1, want none: p:1 before p:0",
		},
		{
			"one consumer at a time, and what a dead one held comes in another order",
			with(good("p", 2), received("c", "p:1"), gone("c"), received("d", "p:0")),
			Options{OneByOne: []string{"q"}},
			"out of order: got 1, want none: p:1 before p:0",
		},
		{
			"a connection that began afterwards gets it without a mark",
			with(at(1, good("p", 1)...), at(2, marked("c", "p:0"), opened("d"), received("d", "p:0"))...),
			Options{},
			"received again without a mark: got 1, want none: p:0",
		},
		{
			"an older connection gets it twice without a mark",
			with(with([]Event{opened("d")}, at(1, good("p", 1)...)...), at(2, marked("c", "p:0"), received("d", "p:0"), received("d", "p:0"))...),
			Options{},
			"received again without a mark: got 1, want none: p:0",
		},
		{
			"a released message comes back twice without a mark",
			with(good("p", 1), received("c", "p:0"), released("c", "p:0"), received("c", "p:0"), received("c", "p:0")),
			Options{},
			"received again without a mark: got 1, want none: p:0",
		},
		{
			"another consumer went before the messages were sent",
			with([]Event{gone("d")}, with(at(1, good("p", 2)...), received("c", "p:1"), received("c", "p:0"))...),
			Options{},
			"out of order: got 1, want none: p:1 before p:0",
		},
		{
			"what was confirmed on one connection comes behind what was sent on the next",
			with(good("p", 1), over("p2", "p:1"), received("c", "p:1"), received("c", "p:0")),
			Options{},
			"out of order: got 1, want none: p:1 before p:0",
		},
		{
			"a marked repetition where nothing was disturbed",
			with(good("p", 1), received("c", "p:0"), marked("c", "p:0")),
			Options{Once: true},
			"received again in an undisturbed run: got 1, want none: p:0",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := Check(c.events, c.o)
			if diff := cmp.Diff([]string{c.want}, v.Breaches()); diff != "" {
				t.Errorf("breaches: (-want +got)\n%s", diff)
			}
		})
	}
}

func TestHistoriesThatHold(t *testing.T) {
	for _, c := range []struct {
		name   string
		events []Event
		o      Options
	}{
		{"everything arrives once", with(good("p", 2), received("c", "p:0"), received("c", "p:1")), Options{OneByOne: []string{"q"}, Once: true}},
		{"an unknown outcome that arrives", []Event{sending("p:0"), failed("p:0"), received("c", "p:0")}, Options{}},
		{"an unknown outcome that does not", []Event{sending("p:0"), failed("p:0")}, Options{}},
		{"a repetition that is marked", with(good("p", 1), received("c", "p:0"), marked("c", "p:0")), Options{OneByOne: []string{"q"}}},
		{"the dead-letter queue is another place", with(good("p", 1), received("c", "p:0"), Event{Kind: Received, Queue: "dead", Message: "p:0"}), Options{}},
		{"two consumers are not ordered among each other", with(good("p", 2), received("c", "p:1"), received("d", "p:0")), Options{}},
		{"a message that another consumer held comes late, marked", with(good("p", 2), received("c", "p:1"), marked("c", "p:0")), Options{}},
		{"a message that was released comes back", with(good("p", 1), received("c", "p:0"), released("c", "p:0"), received("d", "p:0")), Options{}},
		{"a consumer that went had held the message", with(good("p", 2), received("c", "p:1"), gone("d"), received("c", "p:0")), Options{}},
		{
			"what failed on one connection comes behind what was sent on the next",
			[]Event{sending("p:0"), failed("p:0"), over("p2", "p:1"), received("c", "p:1"), received("c", "p:0")},
			Options{OneByOne: []string{"q"}},
		},
		{
			"the first delivery overtaken by the second, which is marked",
			with(with([]Event{opened("d")}, at(1, good("p", 1)...)...), at(2, marked("c", "p:0"), received("d", "p:0"))...),
			Options{},
		},
		{"two producers are not ordered among each other", with(with(good("p", 1), good("r", 1)...), received("c", "r:0"), received("c", "p:0")), Options{}},
		{"consumers that stopped early", good("p", 1), Options{Unfinished: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := Check(c.events, c.o)
			if got := v.Breaches(); got != nil {
				t.Errorf("breaches: got %q, want none", got)
			}
		})
	}
}

// A message whose name was not written by ID ended the judgment by a panic: the name that
// its number stands for belongs to no message.
func TestNamesOfAnotherKindAreNamesAllTheSame(t *testing.T) {
	for _, id := range []string{"p:07", "p:+7", "p:99999999999999999999", "p:", "p", ":x", "p:-1"} {
		if producer, number, ok := Split(id); ok || producer != id || number != 0 {
			t.Errorf("%q: got %q, %d, %v, want the whole as a name", id, producer, number, ok)
		}
		v := Check(with(nil, sending(id), confirmed(id), sending("p:3"), confirmed("p:3"), received("c", id), received("c", "p:3")), Options{})
		if got := v.Breaches(); len(got) > 0 {
			t.Errorf("%q: got %q, want no breach", id, got)
		}
	}
}

func TestSumsAndPauses(t *testing.T) {
	timed := func(ms int, e Event) Event {
		e.At = time.Duration(ms) * time.Millisecond
		return e
	}
	v := Check([]Event{
		timed(0, sending("p:0")), timed(0, sending("r:0")), timed(0, sending("r:1")), timed(5, sending("s:0")), timed(1, sending("p:1")), timed(1, sending("p:2")),
		timed(10, confirmed("p:0")), timed(20, confirmed("r:0")), timed(70, confirmed("r:1")), timed(100, confirmed("p:1")), timed(101, failed("p:2")),
		timed(110, received("c", "p:0")), timed(115, received("c", "r:0")), timed(200, marked("c", "p:0")), timed(201, marked("c", "r:1")), timed(202, received("c", "p:1")),
	}, Options{})
	ms := func(from, length int) Pause {
		return Pause{From: time.Duration(from) * time.Millisecond, Length: time.Duration(length) * time.Millisecond}
	}
	want := Verdict{
		Sent: 6, Confirmed: 4, Failed: 1, Unanswered: 1, Received: 4, Again: 1, Caution: 1,
		Slowest: 100 * time.Millisecond,
		Pause:   ms(20, 50), Silence: ms(115, 85),
		Pauses: map[string]Pause{"p": ms(10, 90), "r": ms(20, 50)},
	}
	if diff := cmp.Diff(want, v); diff != "" {
		t.Errorf("verdict: (-want +got)\n%s", diff)
	}
	if got, want := v.LongestPause(), 90*time.Millisecond; got != want {
		t.Errorf("longest pause: got %v, want %v", got, want)
	}
}

// What is written can be read again, so that a history can be judged later.
func TestWriteAndRead(t *testing.T) {
	r := NewRecorder()
	for i := range 3 {
		r.Add(sending(ID("p", i)))
		r.Add(marked("c"+strconv.Itoa(i), ID("p", i)))
	}
	var buf bytes.Buffer
	if err := Write(&buf, r.Events()); err != nil {
		t.Fatal(err)
	}
	got, err := Read(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r.Events(), got); diff != "" {
		t.Errorf("events: (-written +read)\n%s", diff)
	}
	if _, err := Read(bytes.NewBufferString(`{"at":1}{"at"`)); err == nil {
		t.Error("a history that breaks off: got no error")
	}
}
