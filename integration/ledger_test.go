package integration

import (
	"slices"
	"sync"
	"testing"

	"github.com/selvedge-mq/selvedge/integration/history"
	"github.com/selvedge-mq/selvedge/integration/interop"
)

// ledger keeps the history of a run with one consumer at a time, and counts
// along, so that a test can act in its middle. Bodies are "producer:number".
type ledger struct {
	history *history.Recorder

	mu        sync.Mutex
	confirmed int
	received  map[string]bool
	watchers  []watcher
}

// watcher is told when so many messages are confirmed.
type watcher struct {
	count int
	ch    chan struct{}
}

func newLedger() *ledger {
	return &ledger{history: history.NewRecorder(), received: map[string]bool{}}
}

// bodies returns n bodies of a producer, which will be sent.
func (l *ledger) bodies(producer string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = history.ID(producer, i)
		l.history.Add(history.Event{Kind: history.Sending, Message: out[i]})
	}
	return out
}

// confirm notes a confirmation.
func (l *ledger) confirm(body string) {
	l.history.Add(history.Event{Kind: history.Confirmed, Message: body})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.confirmed++
	l.watchers = told(l.watchers, l.confirmed)
}

// told tells the watchers who wait for no more than so many, and returns the
// others.
func told(watchers []watcher, confirmed int) []watcher {
	return slices.DeleteFunc(watchers, func(w watcher) bool {
		if confirmed < w.count {
			return false
		}
		close(w.ch)
		return true
	})
}

// afterConfirmed returns a channel that is closed when so many are confirmed.
func (l *ledger) afterConfirmed(count int) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	ch := make(chan struct{})
	l.watchers = append(l.watchers, watcher{count, ch})
	return ch
}

// take notes a message received.
func (l *ledger) take(m interop.Message) {
	l.history.Add(history.Event{Kind: history.Received, Message: m.Body, Marked: m.Redelivered})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.received[m.Body] = true
}

// until returns a receiver's callback that ends it when so many different
// messages were received.
func (l *ledger) until(count int) func(interop.Message) bool {
	return func(m interop.Message) bool {
		l.take(m)
		return l.distinct() < count
	}
}

// distinct returns how many different messages were received.
func (l *ledger) distinct() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.received)
}

// check reports every breach: lost, out of order, doubled without a mark, and,
// when once is asked for, doubled at all.
func (l *ledger) check(t *testing.T, sent int, once bool) history.Verdict {
	t.Helper()
	v := history.Check(l.history.Events(), history.Options{OneByOne: []string{"", deadLetters}, Once: once})
	if v.Confirmed != sent {
		t.Errorf("confirmed: got %d, want %d", v.Confirmed, sent)
	}
	complain(t, &v)
	return v
}
