package engine

import (
	"time"

	"github.com/selvedge-mq/selvedge/routing"
)

// partGate lets so many bytes of parts into a portal's lane at a time, that small
// messages of other clients do not wait long behind a large one. What waits is let in
// in its order. It is part of the intake, whose mutex guards it: so a commit comes behind
// its parts and before what its session sends next.
type partGate struct {
	window   int64
	underway int64 // bytes in the lane
	waiting  []*txStep
}

func (g *partGate) fits(t *txStep) bool {
	return g.underway == 0 || g.underway+int64(len(t.raw)) <= g.window
}

// letIn adds a step to the requests.
func (in *intake) letIn(t *txStep) {
	if t.verb == stepPart {
		in.parts.underway += int64(len(t.raw))
	}
	in.reqs = append(in.reqs, sendRequest{c: t.c, step: t, size: int32(len(t.raw))})
}

// putPart takes a part in, now or when there is room. It reports whether there is
// room for more.
func (p *portal) putPart(t *txStep) bool {
	p.e.held.Add(int64(len(t.raw)))
	t.since = time.Now()
	in := &p.in
	in.mu.Lock()
	g := &in.parts
	if len(g.waiting) > 0 || !g.fits(t) {
		g.waiting = append(g.waiting, t)
		in.mu.Unlock()
		return false
	}
	in.letIn(t)
	first, room := len(in.reqs) == 1, g.underway < g.window
	in.mu.Unlock()
	if first {
		in.wake()
	}
	return room
}

// putBehindParts takes the end of an upload in, behind its parts: those that wait go
// first.
func (p *portal) putBehindParts(t *txStep) {
	p.e.held.Add(int64(len(t.raw)))
	in := &p.in
	in.mu.Lock()
	none := len(in.reqs) == 0
	for _, w := range in.parts.take(func(w *txStep) bool { return w.upload == t.upload && w.done == nil }) {
		in.letIn(w)
	}
	in.letIn(t)
	in.mu.Unlock()
	if none {
		in.wake()
	}
}

// partDone gives the room of a part back.
func (in *intake) partDone(bytes int) {
	in.mu.Lock()
	g := &in.parts
	g.underway -= int64(bytes)
	none := len(in.reqs) == 0
	for len(g.waiting) > 0 && g.fits(g.waiting[0]) {
		in.letIn(g.waiting[0])
		g.waiting[0] = nil
		g.waiting = g.waiting[1:]
	}
	wake := none && len(in.reqs) > 0
	in.mu.Unlock()
	if wake {
		in.wake()
	}
}

// take removes the waiting parts of which f is true.
func (g *partGate) take(f func(t *txStep) bool) []*txStep {
	var taken []*txStep
	kept := g.waiting[:0]
	for _, t := range g.waiting {
		if f(t) {
			taken = append(taken, t)
		} else {
			kept = append(kept, t)
		}
	}
	clear(g.waiting[len(kept):])
	g.waiting = kept
	return taken
}

// dropParts ends the waiting parts of an upload.
func (p *portal) dropParts(upload uint64, code routing.Code, reason string) {
	p.in.mu.Lock()
	taken := p.in.parts.take(func(t *txStep) bool { return t.upload == upload && t.done == nil })
	p.in.mu.Unlock()
	if len(taken) > 0 {
		p.box.Put(func() { p.failParts(taken, code, reason) })
	}
}

// expireParts ends the parts of clients that have waited for room since before a time,
// and returns how many.
func (p *portal) expireParts(before time.Time, code routing.Code, reason func() string) int {
	p.in.mu.Lock()
	taken := p.in.parts.take(func(t *txStep) bool { return t.done == nil && t.since.Before(before) })
	p.in.mu.Unlock()
	if len(taken) > 0 {
		p.failParts(taken, code, reason())
	}
	return len(taken)
}

// failParts tells that parts were not sent.
func (p *portal) failParts(taken []*txStep, code routing.Code, reason string) {
	for _, t := range taken {
		p.e.held.Add(-int64(len(t.raw)))
		p.done.add(t.c, 0, &routing.Error{Code: code, Op: "send", Reason: reason})
	}
}

// partsUnderway counts the bytes of parts that are in the lanes of this node.
func (e *Engine) partsUnderway() int64 {
	var n int64
	for _, p := range e.portals {
		p.in.mu.Lock()
		n += p.in.parts.underway
		p.in.mu.Unlock()
	}
	return n
}
