package engine

import (
	"sync"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/envelope"
)

// intake gathers envelopes from many sessions for one goroutine. They are encoded
// into one buffer at once: a message costs a copy, not an allocation.
type intake struct {
	wake func()

	mu    sync.Mutex
	buf   []byte
	reqs  []sendRequest
	parts partGate
}

// sendRequest is what is remembered of a send besides its bytes.
type sendRequest struct {
	c     routing.Completer
	token uint64
	size  int32 // of the envelope in the buffer, or of the step
	step  *txStep
}

// put adds an envelope and returns its encoded size.
func (in *intake) put(env *routing.Envelope, c routing.Completer, token uint64) int {
	in.mu.Lock()
	before := len(in.buf)
	in.buf = envelope.Append(in.buf, env)
	size := len(in.buf) - before
	in.reqs = append(in.reqs, sendRequest{c: c, token: token, size: int32(size)})
	first := len(in.reqs) == 1
	in.mu.Unlock()
	if first {
		in.wake()
	}
	return size
}

// take returns everything gathered; the receiver owns it.
func (in *intake) take() ([]byte, []sendRequest) {
	in.mu.Lock()
	defer in.mu.Unlock()
	buf, reqs := in.buf, in.reqs
	if len(reqs) == 0 {
		return nil, nil
	}
	// The next batch is probably as large as this one; a large one is not kept
	// in mind, so that an idle node holds no memory.
	in.buf = make([]byte, 0, min(len(buf), 64<<10))
	in.reqs = make([]sendRequest, 0, min(len(reqs), 256))
	return buf, reqs
}

// settleRequest is a settlement on its way to the leader.
type settleRequest struct {
	sub     *queueSub
	key     uint64
	outcome routing.Outcome
	c       routing.Completer
	token   uint64
}

// givingBack marks the number of a settlement that gives a message back and leaves no
// trace in the log.
const givingBack = 1 << 62

// note is what is remembered of a delivery that the settlement ends: its number.
func (r *settleRequest) note(number uint64) uint64 {
	if k := r.outcome.Kind; k == routing.Released || k == routing.Modified && !r.outcome.DeliveryFailed {
		return number | givingBack
	}
	return number
}

// settleIntake gathers settlements for one goroutine.
type settleIntake struct {
	wake func()

	mu   sync.Mutex
	reqs []settleRequest
}

func (in *settleIntake) put(r settleRequest) {
	in.mu.Lock()
	in.reqs = append(in.reqs, r)
	first := len(in.reqs) == 1
	in.mu.Unlock()
	if first {
		in.wake()
	}
}

func (in *settleIntake) take() []settleRequest {
	in.mu.Lock()
	defer in.mu.Unlock()
	reqs := in.reqs
	in.reqs = nil
	return reqs
}

// completions collects results and hands them over in runs of one completer.
type completions struct {
	c       routing.Completer
	results []routing.Result
}

func (r *completions) add(c routing.Completer, token uint64, err error) {
	if c == nil {
		return
	}
	if c != r.c {
		r.flush()
		r.c = c
	}
	r.results = append(r.results, routing.Result{Token: token, Err: err})
}

func (r *completions) flush() {
	if len(r.results) > 0 {
		r.c.Complete(r.results)
	}
	clear(r.results)
	r.results = r.results[:0]
	r.c = nil
}
