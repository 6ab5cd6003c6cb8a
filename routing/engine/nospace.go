package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/routing"
)

// The pauses between two tries to append what the log had no room for.
const (
	leastPause = 100 * time.Millisecond
	mostPause  = 2 * time.Second
	// fullFor is how long a word that a log has no room counts; it is repeated
	// with each try and each heartbeat, and ends with a later epoch.
	fullFor = mostPause + time.Second
)

// noSpace is the state of a leader whose log has no room. What the log refused was
// not appended, so the same record is tried again: the epoch goes on, deliveries
// below the reservations too, and everything moves again when there is room.
type noSpace struct {
	since time.Time // zero: there is room
	retry time.Time // of the next try
	pause time.Duration
}

func (n *noSpace) on() bool { return !n.since.IsZero() }

// later plans the next try.
func (n *noSpace) later(now time.Time) {
	if !n.on() {
		n.since = now
	}
	n.pause = min(max(2*n.pause, leastPause), mostPause)
	n.retry = now.Add(n.pause)
}

// noRoom takes the log's word that it has no room for a record. What was
// appended behind it meets a conflict; it is refused as well.
func (l *leader) noRoom(f *flight, err error) bool {
	if errors.Is(err, ErrFull) {
		f.refused = true
	}
	if errors.Is(err, ErrConflict) {
		for _, before := range l.flights {
			if before == f {
				break
			}
			f.refused = f.refused || before.refused
		}
	}
	if !f.refused {
		return false
	}
	now := time.Now()
	if !l.space.on() {
		l.sayFull(err)
	}
	if !now.Before(l.space.retry) {
		l.space.later(now)
	}
	l.tellFull(true)
	return true
}

// tryAgain appends what was refused, in its order, when nothing is under way.
func (l *leader) tryAgain(now time.Time) {
	if !l.space.on() {
		return
	}
	l.tellFull(true)
	if now.Before(l.space.retry) || !l.allAnswered() {
		return
	}
	for _, f := range l.flights {
		if f.refused {
			f.refused, f.answered = false, false
			l.append(f)
		}
	}
}

// hasRoom takes note that the log took a record. While another one is refused, which
// is to be tried again, that says nothing.
func (l *leader) hasRoom() {
	if !l.space.on() || slices.ContainsFunc(l.flights, func(f *flight) bool { return f.refused }) {
		return
	}
	l.e.sayRoom(l.shard, l.e.node)
	l.space = noSpace{}
	l.e.setFull(l.shard, false)
	l.tellFull(false)
}

// appendEpoch appends the first record of an epoch, as often as the log has no
// room for it.
func (l *leader) appendEpoch(ctx context.Context, rec []byte) (uint64, error) {
	for {
		seq, err := l.appendAndWait(ctx, l.s.LastSeq(), rec)
		if err == nil {
			l.hasRoom()
		}
		if !errors.Is(err, ErrFull) {
			l.e.setFull(l.shard, false)
			return seq, err
		}
		if !l.space.on() {
			l.sayFull(err)
		}
		l.space.later(time.Now())
		l.tellFull(true)
		if wait(ctx, l.space.pause); ctx.Err() != nil {
			l.e.setFull(l.shard, false)
			return 0, ctx.Err()
		}
	}
}

// repeatFull is the time after which it is said again that a log has no room. In
// between leaders come and go, since the embedded server steps down with each
// refusal, and small records may find room where a large one does not.
const repeatFull = time.Minute

// fullWord is what was said about a log without room.
type fullWord struct {
	at    time.Time // the last time
	since time.Time // the first time; zero: it was said that there is room again
}

func (l *leader) sayFull(err error) {
	e, now := l.e, time.Now()
	e.setFull(l.shard, true)
	e.mu.Lock()
	level := zerolog.DebugLevel
	if w := e.saidFull[l.shard]; now.Sub(w.at) >= repeatFull {
		level = zerolog.ErrorLevel
		if w.at = now; w.since.IsZero() {
			w.since = now
		}
		e.saidFull[l.shard] = w
	}
	e.mu.Unlock()
	l.zl.WithLevel(level).Err(err).Msg("log has no room: free space on the disk of this node, everything goes on by itself then")
}

// sayRoom says, if this node has said the opposite, that a log has room again: the leader
// has found it out, this one or the one that took the shard over.
func (e *Engine) sayRoom(n int, leader string) {
	e.mu.Lock()
	w := e.saidFull[n]
	e.saidFull[n] = fullWord{at: w.at}
	e.mu.Unlock()
	if !w.since.IsZero() {
		e.log.Info().Int("shard", n).Str("leader", leader).Dur("after", time.Since(w.since)).Msg("log has room again")
	}
}

// setFull notes for the stats that a log on this node has no room.
func (e *Engine) setFull(n int, full bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if full {
		e.full[n] = true
		return
	}
	delete(e.full, n)
}

// tellFull tells every node that the shard takes nothing for now, or does again. The
// word is of the last epoch that this node knows of: who takes a shard over has none yet.
func (l *leader) tellFull(full bool) {
	epoch := l.s.Epoch()
	msg := append(head{verb: verbFull, shard: l.shard, epoch: epoch}.append(nil), flag(full))
	for _, node := range l.e.up() {
		l.e.opts.Peers.Send(node, LaneControl, msg)
	}
	p := l.e.portals[l.shard]
	p.box.Put(func() { p.setFull(epoch, full) })
}

// setFull takes the word that the shard takes nothing for now, or does again. That of a
// former leader does not count: the log took the record of a later epoch.
func (p *portal) setFull(epoch uint32, full bool) {
	if epoch < p.epoch {
		return
	}
	if !full {
		p.full.Store(nil)
		return
	}
	until := time.Now().Add(fullFor)
	p.full.Store(&until)
}

// takes reports whether the shard's log has room, as far as the portal knows. It
// is called by sessions.
func (p *portal) takes() bool {
	until := p.full.Load()
	if until == nil {
		return true
	}
	if time.Now().Before(*until) {
		return false
	}
	p.full.CompareAndSwap(until, nil)
	return true
}

const reasonFull = "the disk of the node that leads the queue is full: sends go on by themselves when there is room"

func errFull(env *routing.Envelope) error {
	return &routing.Error{Code: routing.CodeFull, Op: "send", Address: env.Address.String(), Reason: reasonFull}
}
