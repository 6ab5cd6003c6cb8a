// Package memlog is an engine.Log in the memory of one process, for tests: any
// number of views share one stored log, as the nodes of a cluster do, and each
// view can be made to fail, to lose and to be late. It works inside a
// testing/synctest bubble.
package memlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/selvedge-mq/selvedge/routing/engine"
)

// Defaults of [Options].
const (
	DefaultTimeout   = 2 * time.Second
	DefaultMaxRecord = 8 << 20
)

// Errors of appends and reads whose outcome is not one of the engine's.
var (
	// ErrTimeout says that an append was not answered in time: its outcome is unknown.
	ErrTimeout = errors.New("memlog: no answer in time")
	// ErrClosed says that the view was closed.
	ErrClosed = errors.New("memlog: closed")
	// ErrTooLarge says that a record is larger than the limit.
	ErrTooLarge = errors.New("memlog: record too large")
)

// Options configure a stored log.
type Options struct {
	// Delay is the time from the call of Append to the commit and the answer.
	Delay time.Duration
	// Timeout ends an append that stays silent; 0 means [DefaultTimeout].
	Timeout time.Duration
	// MaxRecord is the largest record in bytes; 0 means [DefaultMaxRecord].
	MaxRecord int
}

// Log is one view of a stored log: what one node sees of it. It implements
// engine.Log.
type Log struct {
	opts  Options
	store *store
	pipe  pipe

	mu     sync.Mutex
	hook   Hook
	closed bool
}

var _ engine.Log = (*Log)(nil)

// store is the stored log that the views share.
type store struct {
	mu    sync.Mutex
	first uint64   // sequence of recs[0], or of the next record
	recs  [][]byte // never changed in place
}

// New returns the first view of a new, empty log.
func New(o Options) *Log {
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.MaxRecord == 0 {
		o.MaxRecord = DefaultMaxRecord
	}
	return &Log{opts: o, store: &store{first: 1}}
}

// View returns another view of the same stored log, with an order of appends,
// a hook and an end of its own.
func (l *Log) View() *Log {
	return &Log{opts: l.opts, store: l.store}
}

// Close ends the view: appends under way and later calls answer [ErrClosed].
// What had reached the log stays there, what had not is lost.
func (l *Log) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	for _, a := range l.pipe.close() {
		a.answer(0, ErrClosed)
	}
	return nil
}

// Read returns a copy of the record at seq.
func (l *Log) Read(ctx context.Context, seq uint64) ([]byte, error) {
	if err := l.begin(ctx, Op{Kind: Read, Seq: seq}); err != nil {
		return nil, err
	}
	rec, err := l.store.at(seq)
	return bytes.Clone(rec), err
}

// Scan calls f for each record from from to the last one there is now.
func (l *Log) Scan(ctx context.Context, from uint64, f func(seq uint64, rec []byte) error) error {
	if err := l.begin(ctx, Op{Kind: Scan, Seq: from}); err != nil {
		return err
	}
	first, recs := l.store.since(from)
	for i, rec := range recs {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("memlog: scan: %w", err)
		}
		if err := f(first+uint64(i), bytes.Clone(rec)); err != nil {
			return err
		}
	}
	return nil
}

var _ engine.Replayer = (*Log)(nil)

// Replay is Scan from the first record on. It destroys each record when f has
// returned, so that who keeps one finds out.
func (l *Log) Replay(ctx context.Context, f func(seq uint64, rec []byte) error) error {
	return l.Scan(ctx, 0, func(seq uint64, rec []byte) error {
		defer clear(rec)
		return f(seq, rec)
	})
}

// Bounds returns the first and the last sequence.
func (l *Log) Bounds(ctx context.Context) (first, last uint64, err error) {
	if err := l.begin(ctx, Op{Kind: Bounds}); err != nil {
		return 0, 0, err
	}
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	return l.store.first, l.store.last(), nil
}

// Purge removes every record up to and including upTo, but never more than
// there are.
func (l *Log) Purge(ctx context.Context, upTo uint64) error {
	if err := l.begin(ctx, Op{Kind: Purge, Seq: upTo}); err != nil {
		return err
	}
	l.store.purge(upTo)
	return nil
}

// Replace changes the stored record at seq behind everyone's back, as a damaged
// disk does. It returns false if there is no such record.
func (l *Log) Replace(seq uint64, rec []byte) bool {
	s := l.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq < s.first || seq > s.last() {
		return false
	}
	recs := make([][]byte, len(s.recs)) // scans under way keep the old ones
	copy(recs, s.recs)
	recs[seq-s.first] = bytes.Clone(rec)
	s.recs = recs
	return true
}

// begin applies the hook to an operation that is not an append.
func (l *Log) begin(ctx context.Context, op Op) error {
	fault, err := l.fault(op)
	if err != nil {
		return err
	}
	if fault.Delay > 0 {
		t := time.NewTimer(fault.Delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	if fault.Lose || fault.LoseAnswer {
		<-ctx.Done()
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("memlog: %v: %w", op.Kind, err)
	}
	return fault.Err
}

// fault asks the hook about an operation.
func (l *Log) fault(op Op) (Fault, error) {
	l.mu.Lock()
	hook, closed := l.hook, l.closed
	l.mu.Unlock()
	if closed {
		return Fault{}, ErrClosed
	}
	if hook == nil {
		return Fault{}, nil
	}
	return hook(op), nil
}

func (s *store) last() uint64 { return s.first + uint64(len(s.recs)) - 1 }

func (s *store) append(expect uint64, rec []byte) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last() != expect {
		return 0, engine.ErrConflict
	}
	s.recs = append(s.recs, rec)
	return s.last(), nil
}

func (s *store) at(seq uint64) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case seq < s.first:
		return nil, engine.ErrPurged
	case seq > s.last():
		return nil, engine.ErrNotFound
	}
	return s.recs[seq-s.first], nil
}

func (s *store) since(from uint64) (first uint64, recs [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first = max(from, s.first)
	if first > s.last() {
		return first, nil
	}
	return first, s.recs[first-s.first:]
}

func (s *store) purge(upTo uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	upTo = min(upTo, s.last())
	if upTo < s.first {
		return
	}
	s.recs = append([][]byte(nil), s.recs[upTo-s.first+1:]...)
	s.first = upTo + 1
}
