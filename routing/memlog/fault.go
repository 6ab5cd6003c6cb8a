package memlog

import "time"

// Kind says which method of the log an [Op] is.
type Kind uint8

// The kinds of operations.
const (
	Append Kind = iota
	Read
	Scan
	Bounds
	Purge
)

var kindNames = [...]string{"append", "read", "scan", "bounds", "purge"}

// String returns the name of the method.
func (k Kind) String() string { return kindNames[k] }

// Op is an operation that is about to happen in a view.
type Op struct {
	Kind Kind
	// Seq is the sequence asked for; the expected last one of an append.
	Seq uint64
	// Rec is the record of an append. It must not be changed.
	Rec []byte
}

// Fault says what goes wrong with an operation; the zero value: nothing.
type Fault struct {
	// Err fails the operation without an effect on the log.
	Err error
	// Delay comes on top of the log's own. An append delayed beyond the timeout is
	// answered with [ErrTimeout] and reaches the log all the same. Later appends
	// of the view wait behind it.
	Delay time.Duration
	// Lose loses an append before it reaches the log. With Err it is answered at
	// once, else never: it ends by the timeout. Other operations wait for the end of
	// their context.
	Lose bool
	// LoseAnswer loses the answer of an append that reached the log: with Err it is
	// answered with that error, else it ends by the timeout.
	LoseAnswer bool
}

// Hook decides about each operation of a view. It may be called from several
// goroutines and must not call the view.
type Hook func(Op) Fault

// SetHook sets the view's hook; nil removes it.
func (l *Log) SetHook(h Hook) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hook = h
}

// FailNext gives fault to the next n operations of a kind, which replaces the
// hook; later ones go well again.
func (l *Log) FailNext(kind Kind, n int, fault Fault) {
	l.SetHook(nextHook(kind, n, fault))
}

// Cut loses every operation of the view silently until Mend, as a node cut off
// the network does.
func (l *Log) Cut() {
	l.SetHook(func(Op) Fault { return Fault{Lose: true} })
}

// Mend removes whatever [Log.SetHook], [Log.FailNext] or [Log.Cut] set.
func (l *Log) Mend() { l.SetHook(nil) }

// nextHook returns a hook that gives fault to the next n operations of a kind.
func nextHook(kind Kind, n int, fault Fault) Hook {
	left := make(chan struct{}, n)
	for range n {
		left <- struct{}{}
	}
	return func(op Op) Fault {
		if op.Kind != kind {
			return Fault{}
		}
		select {
		case <-left:
			return fault
		default:
			return Fault{}
		}
	}
}
