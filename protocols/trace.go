package protocols

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// Trace is one frame of a connection as an operator may see it: what it asks for,
// passwords masked, and the length of what a message holds.
type Trace struct {
	Time     time.Time
	Protocol string // the front-end's name
	Conn     string // its name of the connection, as in the log
	Client   string // host:port
	User     string // of the login, empty before it
	Sent     bool   // by the node; otherwise by the client
	Frame    string // lines separated by LF; watchers get 8 KiB of it at most
	Dropped  uint64 // frames that this watcher has lost so far, because it was slow
}

// TraceFilter chooses connections. Empty fields match all.
type TraceFilter struct {
	Protocol string
	Conn     string
	Client   string
	User     string
}

func (f *TraceFilter) match(t *Trace) bool {
	for _, pair := range [...]struct{ want, is string }{
		{f.Protocol, t.Protocol}, {f.Conn, t.Conn}, {f.Client, t.Client}, {f.User, t.User},
	} {
		if pair.want != "" && pair.want != pair.is {
			return false
		}
	}
	return true
}

// traceRoom is how many frames wait for a watcher; more are dropped.
const traceRoom = 1024

// maxTraceFrame is how many bytes of a frame are shown: what waits for a watcher
// is bounded, however long headers may be.
const maxTraceFrame = 8 << 10

// Traces hands the frames of connections to who watches them. It is safe for
// concurrent use, and a nil one has no watchers.
type Traces struct {
	list atomic.Pointer[[]*watcher] // replaced, never changed; nil without watchers
	mu   sync.Mutex                 // guards replacing list
}

type watcher struct {
	filter  TraceFilter
	ch      chan Trace
	dropped atomic.Uint64
}

// Watch hands out the frames of the connections that match until stop is called.
// A slow watcher loses frames and holds up nobody. The channel is never closed: a
// frame may still come while stop runs.
func (t *Traces) Watch(filter TraceFilter) (frames <-chan Trace, stop func()) {
	w := &watcher{filter: filter, ch: make(chan Trace, traceRoom)}
	t.change(func(all []*watcher) []*watcher { return append(all, w) })
	return w.ch, func() {
		t.change(func(all []*watcher) []*watcher {
			return slices.DeleteFunc(all, func(o *watcher) bool { return o == w })
		})
	}
}

func (t *Traces) change(f func([]*watcher) []*watcher) {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := f(slices.Clone(t.watchers()))
	if len(list) == 0 {
		t.list.Store(nil)
		return
	}
	t.list.Store(&list)
}

func (t *Traces) watchers() []*watcher {
	if list := t.list.Load(); list != nil {
		return *list
	}
	return nil
}

// Active reports whether anybody watches: a connection that asks first makes no
// traces for nobody.
func (t *Traces) Active() bool { return t != nil && t.list.Load() != nil }

// Offer hands a frame to the watchers that want it and have room.
func (t *Traces) Offer(one Trace) {
	if !t.Active() {
		return
	}
	one.Frame = clip(one.Frame)
	for _, w := range t.watchers() {
		if !w.filter.match(&one) {
			continue
		}
		one.Dropped = w.dropped.Load()
		select {
		case w.ch <- one:
		default:
			w.dropped.Add(1)
		}
	}
}

// clip cuts a long frame between two characters, and marks that it did.
func clip(frame string) string {
	if len(frame) <= maxTraceFrame {
		return frame
	}
	end := maxTraceFrame
	for end > maxTraceFrame-utf8.UTFMax && !utf8.RuneStart(frame[end]) {
		end--
	}
	return frame[:end] + "…"
}
