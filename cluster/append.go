package cluster

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/selvedge-mq/selvedge/internal/mailbox"
	"github.com/selvedge-mq/selvedge/routing/engine"
)

// Errors of appends whose outcome is unknown, and of calls that were not answered.
var (
	ErrNoAnswer = errors.New("cluster: no answer in time")
	ErrNoLeader = errors.New("cluster: nobody leads the log")
	ErrClosed   = errors.New("cluster: closed")
	// ErrTooLarge says that a record is larger than the log takes.
	ErrTooLarge = errors.New("cluster: record too large")
)

// Headers and statuses of the embedded server.
const (
	headerExpected = nats.ExpectedLastSeqHdr
	statusHeader   = "Status"
	statusNoReply  = "503" // nobody subscribes to the subject
	// maxRecord leaves room for the headers within the server's limit.
	maxRecord = maxPayload - 1024
)

// appender publishes the appends of all logs of a node over a connection of
// their own, in order, and matches the answers. It is the only one who publishes
// to the logs' subjects.
type appender struct {
	nc      *nats.Conn
	prefix  string // of the subjects that answers arrive at
	timeout time.Duration
	log     *serverLog
	box     *mailbox.Mailbox[*pendingAppend]
	metrics *metrics
	stop    chan struct{}
	wg      sync.WaitGroup

	mu      sync.Mutex
	pending map[uint64]*pendingAppend
	last    uint64
	closed  bool
}

// pendingAppend is an append that was not answered. The appender's mu guards
// what changes.
type pendingAppend struct {
	id      uint64
	log     *shardLog
	expect  uint64
	rec     []byte
	timer   *time.Timer
	began   time.Time
	writing bool  // rec is being read
	ended   error // why it ended while writing
	done    func(seq uint64, err error)
}

// newAppender starts the appender of a node.
func newAppender(e *embedded, timeout time.Duration, m *metrics) (*appender, error) {
	a := &appender{
		prefix:  nats.NewInbox() + ".",
		timeout: timeout,
		log:     e.log,
		metrics: m,
		box:     mailbox.New[*pendingAppend](),
		stop:    make(chan struct{}),
		pending: make(map[uint64]*pendingAppend),
	}
	nc, err := e.connect("log", nats.DisconnectErrHandler(func(*nats.Conn, error) {
		a.fail(nil, fmt.Errorf("%w: the connection to the embedded server broke", ErrNoAnswer))
	}))
	if err != nil {
		return nil, err
	}
	a.nc = nc
	if _, err := nc.Subscribe(a.prefix+"*", a.answer); err != nil {
		nc.Close()
		return nil, fmt.Errorf("cluster: subscribe to the log's answers: %w", err)
	}
	a.wg.Go(a.write)
	return a, nil
}

// close ends the appender; appends under way answer ErrClosed.
func (a *appender) close() {
	a.mu.Lock()
	closed := a.closed
	a.closed = true
	a.mu.Unlock()
	if !closed {
		close(a.stop)
	}
	a.fail(nil, ErrClosed)
	a.wg.Wait()
	a.nc.Close()
}

// append queues an append and returns at once.
func (a *appender) append(l *shardLog, expect uint64, rec []byte, done func(uint64, error)) {
	p := &pendingAppend{log: l, expect: expect, rec: rec, began: time.Now(), done: done}
	a.mu.Lock()
	if a.closed || l.closed.Load() {
		a.mu.Unlock()
		go done(0, ErrClosed)
		return
	}
	a.last++
	p.id = a.last
	a.pending[p.id] = p
	p.timer = time.AfterFunc(a.timeout, func() { a.finish(p.id, 0, ErrNoAnswer) })
	a.mu.Unlock()
	a.box.Put(p)
}

// write publishes what append queued.
func (a *appender) write() {
	var batch []*pendingAppend
	for {
		select {
		case <-a.stop:
			return
		case <-a.box.Ready():
		}
		batch = a.box.Take(batch)
		for _, p := range batch {
			a.publish(p)
		}
	}
}

// publish sends one append, unless it has ended. While the record is being read
// its end is put off, since the caller may change the record afterwards.
func (a *appender) publish(p *pendingAppend) {
	a.mu.Lock()
	if a.pending[p.id] != p {
		a.mu.Unlock()
		return
	}
	p.writing = true
	a.mu.Unlock()

	err := a.nc.PublishMsg(&nats.Msg{
		Subject: p.log.subject,
		Reply:   a.prefix + strconv.FormatUint(p.id, 36),
		Header:  nats.Header{headerExpected: {strconv.FormatUint(p.expect, 10)}},
		Data:    p.rec,
	})

	a.mu.Lock()
	p.writing = false
	if err == nil {
		err = p.ended
	}
	a.mu.Unlock()
	if err != nil {
		a.finish(p.id, 0, err)
	}
}

// answer matches an answer of the server to its append.
func (a *appender) answer(m *nats.Msg) {
	id, err := strconv.ParseUint(strings.TrimPrefix(m.Subject, a.prefix), 36, 64)
	if err != nil {
		return // not one of ours
	}
	seq, err := parseAck(m)
	if err == nil {
		err = a.keepNames(id)
	}
	a.finish(id, seq, err)
}

// keepNames has the name of the file durable that an append was written to, where this
// node alone confirms it. A folder that cannot be synced ends the server, as a file does.
func (a *appender) keepNames(id uint64) error {
	a.mu.Lock()
	p := a.pending[id]
	a.mu.Unlock()
	if p == nil || p.log.names == nil {
		return nil
	}
	if err := p.log.names.keep(); err != nil {
		err = fmt.Errorf("%w: %w", ErrStorage, err)
		a.log.fail(err)
		return err
	}
	return nil
}

// finish ends an append, the first time only.
func (a *appender) finish(id, seq uint64, err error) {
	a.mu.Lock()
	p := a.pending[id]
	if p == nil || !a.end(p, &err) {
		a.mu.Unlock()
		return
	}
	a.mu.Unlock()
	a.tell(p, seq, err)
}

// end takes an append out of those under way. While its record is being read a
// failure is only noted, and prevails over the answer that may still come. The
// caller holds mu.
func (a *appender) end(p *pendingAppend, err *error) bool {
	if p.ended != nil {
		*err = p.ended
	}
	if p.writing && *err != nil {
		p.ended = *err
		return false
	}
	delete(a.pending, p.id)
	return true
}

// tell hands the outcome of an append out.
func (a *appender) tell(p *pendingAppend, seq uint64, err error) {
	p.timer.Stop()
	if err == nil && seq != p.expect+1 {
		err = fmt.Errorf("cluster: append behind %d was stored at %d", p.expect, seq)
	}
	if err != nil {
		seq = 0
	}
	a.metrics.appended(len(p.rec), time.Since(p.began), err)
	p.done(seq, err)
}

// fail ends the appends under way of one log, or of all if l is nil: all at once,
// so that none of them succeeds behind one that failed, and in their order.
func (a *appender) fail(l *shardLog, err error) {
	a.mu.Lock()
	var ended []*pendingAppend
	for _, p := range a.pending {
		if cause := err; (l == nil || p.log == l) && a.end(p, &cause) {
			ended = append(ended, p)
		}
	}
	a.mu.Unlock()
	slices.SortFunc(ended, func(a, b *pendingAppend) int { return cmp.Compare(a.id, b.id) })
	for _, p := range ended {
		a.tell(p, 0, err)
	}
}

// parseAck returns the sequence that an append was stored at.
func parseAck(m *nats.Msg) (uint64, error) {
	if m.Header.Get(statusHeader) == statusNoReply {
		return 0, ErrNoLeader
	}
	var ack struct {
		Seq   uint64           `json:"seq"`
		Error *server.ApiError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &ack); err != nil {
		return 0, fmt.Errorf("cluster: decode the answer to an append: %w", err)
	}
	switch {
	case ack.Error == nil:
		return ack.Seq, nil
	case wrongSequence(ack.Error):
		return 0, engine.ErrConflict
	case noRoom(ack.Error):
		return 0, fmt.Errorf("%w: %w", engine.ErrFull, ack.Error)
	default:
		return 0, fmt.Errorf("cluster: append: %w", ack.Error)
	}
}

// wrongSequence says whether the server refused the expected last sequence.
func wrongSequence(e *server.ApiError) bool {
	switch server.ErrorIdentifier(e.ErrCode) {
	case server.JSStreamWrongLastSequenceErrF, server.JSStreamWrongLastSequenceConstantErr:
		return true
	default:
		return false
	}
}

// noRoom says whether the server refused an append for lack of space. It looks
// before it proposes, so nothing was appended.
func noRoom(e *server.ApiError) bool {
	switch server.ErrorIdentifier(e.ErrCode) {
	case server.JSInsufficientResourcesErr, server.JSStorageResourcesExceededErr:
		return true
	default:
		return false
	}
}
