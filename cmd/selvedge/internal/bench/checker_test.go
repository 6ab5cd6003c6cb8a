package bench

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestStampSurvives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := stamp{
			run:      rapid.Uint32().Draw(t, "run"),
			producer: rapid.Uint32Range(0, maxProducers-1).Draw(t, "producer"),
			seq:      rapid.Uint64Range(0, 1<<40-1).Draw(t, "seq"),
			sent:     rapid.Int64().Draw(t, "sent"),
		}
		body := newBody(rapid.IntRange(MinSize, 500).Draw(t, "size"))
		want.write(body)
		if got, ok := readStamp(body); !ok || got != want {
			t.Fatalf("got %v %v, want %v", got, ok, want)
		}
		if !fillerIntact(body, newBody(len(body))) {
			t.Fatal("the stamp has run into the filler")
		}
	})
}

func FuzzReadStamp(f *testing.F) {
	body := newBody(MinSize)
	stamp{run: 1, producer: 2, seq: 3, sent: 4}.write(body)
	f.Add(body)
	f.Add([]byte("hello"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, ok := readStamp(b)
		if !ok {
			return
		}
		again := newBody(MinSize)
		s.write(again)
		if got, want := string(again), string(b[:MinSize]); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

func TestAccountCounts(t *testing.T) {
	const again = true
	type delivery struct {
		seq    uint64
		marked bool
	}
	for name, c := range map[string]struct {
		resent     []uint64
		deliveries []delivery
		missing    uint64
		want       totals
	}{
		"everything once":                  {deliveries: []delivery{{0, false}, {1, false}, {2, false}}, want: totals{Deliveries: 3}},
		"one missing":                      {deliveries: []delivery{{0, false}, {2, false}}, missing: 1, want: totals{Deliveries: 2}},
		"a duplicate":                      {deliveries: []delivery{{0, false}, {1, false}, {2, false}, {1, false}}, want: totals{Deliveries: 4, UnmarkedDuplicates: 1}},
		"a marked duplicate":               {deliveries: []delivery{{0, false}, {1, false}, {2, false}, {1, again}}, want: totals{Deliveries: 4, Redelivered: 1, MarkedDuplicates: 1}},
		"marked, but new to us":            {deliveries: []delivery{{0, false}, {1, again}, {2, false}}, want: totals{Deliveries: 3, Redelivered: 1}},
		"a duplicate that we sent again":   {resent: []uint64{1}, deliveries: []delivery{{0, false}, {1, false}, {1, false}, {2, false}}, want: totals{Deliveries: 4, ResentDuplicates: 1}},
		"received but never confirmed (9)": {deliveries: []delivery{{0, false}, {1, false}, {2, false}, {9, false}}, want: totals{Deliveries: 4}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(7)
			a := l.account(3)
			for seq := range uint64(3) {
				a.send(seq, false)
				a.expect(seq)
				a.expect(seq) // a second confirmation changes nothing
			}
			for _, seq := range c.resent {
				a.send(seq, again)
			}
			for _, d := range c.deliveries {
				a.receive(d.seq, d.marked)
			}
			if got := l.missing(); got != c.missing {
				t.Errorf("got %d missing, want %d", got, c.missing)
			}
			if diff := cmp.Diff(c.want, a.totals); diff != "" {
				t.Errorf("totals (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLedgerAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := newLedger(1).account(0)
		expected, received := map[uint64]bool{}, map[uint64]int{}
		seq := rapid.Uint64Range(0, 200)
		t.Repeat(map[string]func(*rapid.T){
			"confirm": func(t *rapid.T) {
				s := seq.Draw(t, "seq")
				a.expect(s)
				expected[s] = true
			},
			"receive": func(t *rapid.T) {
				s := seq.Draw(t, "seq")
				if got, want := a.receive(s, false), received[s] == 0; got != want {
					t.Fatalf("got new %v, want %v", got, want)
				}
				received[s]++
			},
			"": func(t *rapid.T) {
				missing, doubled := 0, 0
				for s := range expected {
					if received[s] == 0 {
						missing++
					}
				}
				for _, n := range received {
					doubled += n - 1
				}
				if got := int(a.confirmed - a.met); got != missing {
					t.Fatalf("got %d missing, want %d", got, missing)
				}
				if got := int(a.totals.UnmarkedDuplicates); got != doubled {
					t.Fatalf("got %d duplicates, want %d", got, doubled)
				}
				if got := len(a.expected.missingFrom(a.received, 1000)); got != missing {
					t.Fatalf("got %d examples, want %d", got, missing)
				}
			},
		})
	})
}

func TestOrderIsCheckedPerProducer(t *testing.T) {
	var o order
	for _, c := range []struct {
		producer uint32
		seq      uint64
		marked   bool
		want     bool
	}{
		{1, 0, false, true},
		{2, 5, false, true},
		{1, 3, false, true},
		{1, 2, false, false}, // behind 3
		{1, 1, true, true},   // behind 3, but marked as redelivered
		{2, 6, false, true},
		{1, 4, false, true},
	} {
		if got := o.arrived(c.producer, c.seq, c.marked); got != c.want {
			t.Errorf("producer %d, %d: got %v, want %v", c.producer, c.seq, got, c.want)
		}
	}
}

func TestWindowHoldsBackAndRemembers(t *testing.T) {
	w := newWindow(2)
	for want := range uint64(2) {
		if got, ok := w.reserve(int64(10 + want)); !ok || got != want {
			t.Fatalf("got %d %v, want %d", got, ok, want)
		}
	}
	if _, ok := w.reserve(12); ok {
		t.Error("got a third message into a window of two")
	}
	if sent, ok := w.settle(1); !ok || sent != 11 {
		t.Errorf("got %d %v, want 11", sent, ok)
	}
	if _, ok := w.settle(1); ok {
		t.Error("got a message settled twice")
	}
	if diff := cmp.Diff([]unconfirmed{{seq: 0, sent: 10}}, w.open(), cmp.AllowUnexported(unconfirmed{})); diff != "" {
		t.Errorf("open (-want +got):\n%s", diff)
	}
	if _, ok := w.reserve(13); ok {
		t.Error("got a message into a window whose oldest is open")
	}
	w.settle(0)
	<-w.changed
	if seq, ok := w.reserve(13); !ok || seq != 2 || w.empty() {
		t.Errorf("got %d %v, want 2", seq, ok)
	}
	if _, ok := w.settle(99); ok {
		t.Error("got a message settled that was never sent")
	}
}

func TestTimelineKeepsTheLongestGap(t *testing.T) {
	var l timeline
	if _, _, ok := l.bounds(); ok {
		t.Error("got bounds of nothing")
	}
	for _, ms := range []int{0, 5, 6, 46, 50} {
		l.mark(time.Duration(ms) * time.Millisecond)
	}
	if diff := cmp.Diff(Gap{At: 6 * time.Millisecond, Length: 40 * time.Millisecond}, l.longestGap()); diff != "" {
		t.Errorf("gap (-want +got):\n%s", diff)
	}
	if first, last, _ := l.bounds(); first != 0 || last != 50*time.Millisecond {
		t.Errorf("got %v to %v, want 0 to 50ms", first, last)
	}
}

func TestLatencySums(t *testing.T) {
	var l latency
	total, interval := newHistogram(), newHistogram()
	for ms := range int64(100) {
		l.record((ms + 1) * int64(time.Millisecond))
	}
	l.record(int64(time.Hour)) // held to ten minutes
	l.take(total, interval)
	l.take(total)
	got := summary(total)
	if got.Count != 101 || got.P50 < 50 || got.P50 > 52 || got.P99 < 99 || got.P99 > 102 || got.Max < 590_000 {
		t.Errorf("got %+v", got)
	}
	if interval.TotalCount() != 101 {
		t.Errorf("got %d in the interval, want 101", interval.TotalCount())
	}
}

func TestFailuresAreKeptOnce(t *testing.T) {
	var f failures
	f.add(errors.New("a"))
	f.add(errors.New("b"))
	f.add(errors.New("a"))
	if diff := cmp.Diff([]string{"a (2 times)", "b"}, f.list()); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	if got := f.sum(); got != 3 {
		t.Errorf("got %d, want 3", got)
	}
}

func TestNumbersAreReadable(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567.4: "1,234,567"} {
		if got := thousands(v); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for ms, want := range map[float64]string{0.123: "0.12 ms", 42.4: "42 ms", 1234: "1.23 s"} {
		if got := milliseconds(ms); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
