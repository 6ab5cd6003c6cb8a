package memlog

import (
	"bytes"
	"sync"
	"time"
)

// pipe is the appends of a view that are under way, in the order of the calls.
// A goroutine drains it while there are any.
type pipe struct {
	mu      sync.Mutex
	waiting []*pending
	running bool
	closed  bool
	stop    chan struct{} // made with the first append, closed by close
}

// pending is an append under way.
type pending struct {
	expect uint64
	rec    []byte
	fault  Fault
	due    time.Time // when it reaches the log
	timer  *time.Timer

	once sync.Once
	done func(seq uint64, err error)
}

// answer calls done, the first time only.
func (a *pending) answer(seq uint64, err error) {
	a.once.Do(func() {
		a.timer.Stop()
		a.done(seq, err)
	})
}

// Append starts an append of rec behind the sequence expect.
func (l *Log) Append(expect uint64, rec []byte, done func(seq uint64, err error)) {
	fault, err := l.fault(Op{Kind: Append, Seq: expect, Rec: rec})
	if err == nil && len(rec) > l.opts.MaxRecord {
		err = ErrTooLarge
	}
	if err != nil {
		fault = Fault{Err: err}
	}
	a := &pending{
		expect: expect,
		rec:    bytes.Clone(rec),
		fault:  fault,
		due:    time.Now().Add(l.opts.Delay + fault.Delay),
		done:   done,
	}
	if a.rec == nil {
		a.rec = []byte{}
	}
	ready := make(chan struct{}) // the timer's field is set before it may fire
	a.timer = time.AfterFunc(l.opts.Timeout, func() {
		<-ready
		a.answer(0, ErrTimeout)
	})
	close(ready)
	if !l.pipe.put(a, l.drain) {
		go a.answer(0, ErrClosed)
	}
}

// put queues an append and starts the drain if none is running. It returns
// false when the pipe is closed.
func (p *pipe) put(a *pending, drain func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	if p.stop == nil {
		p.stop = make(chan struct{})
	}
	p.waiting = append(p.waiting, a)
	if !p.running {
		p.running = true
		go drain()
	}
	return true
}

// next returns the append at the head, nil when there is none: then the drain
// ends.
func (p *pipe) next() *pending {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) == 0 {
		p.running = false
		return nil
	}
	return p.waiting[0]
}

// take removes the head if it is still a: after close it is not.
func (p *pipe) take(a *pending) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) == 0 || p.waiting[0] != a {
		return false
	}
	p.waiting = p.waiting[1:]
	return true
}

// close ends the pipe and returns what was under way.
func (p *pipe) close() []*pending {
	p.mu.Lock()
	defer p.mu.Unlock()
	left := p.waiting
	p.waiting = nil
	if !p.closed && p.stop != nil {
		close(p.stop)
	}
	p.closed = true
	return left
}

// drain brings the appends to the log, in order, each when it is due.
func (l *Log) drain() {
	for {
		a := l.pipe.next()
		if a == nil {
			return
		}
		if d := time.Until(a.due); d > 0 {
			t := time.NewTimer(d)
			select {
			case <-t.C:
			case <-l.pipe.stop:
			}
			t.Stop()
		}
		if l.pipe.take(a) {
			l.commit(a)
		}
	}
}

// commit does to the log what the append's fault leaves of it, and answers.
func (l *Log) commit(a *pending) {
	f := a.fault
	if f.LoseAnswer {
		_, _ = l.store.append(a.expect, a.rec) // the answer is lost: that is the point
	}
	switch {
	case f.Err != nil:
		a.answer(0, f.Err)
	case f.Lose, f.LoseAnswer:
		// silence: the timeout answers
	default:
		a.answer(l.store.append(a.expect, a.rec))
	}
}
