package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/internal/mailbox"
	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/shard"
)

// leader runs the machine of one shard that this node leads. One goroutine owns
// it; everything reaches it through its box.
type leader struct {
	e       *Engine
	shard   int
	log     Log
	zl      zerolog.Logger
	box     *mailbox.Mailbox[func()]
	serving atomic.Bool
	lease   lease
	cache   *bodyCache
	parts   *bodyCache   // records with parts of large messages that are read
	soft    atomic.Int64 // bytes that are not logged, as of the last beat
	clock   time.Time    // start of the epoch, for the report timeout
	served  bool         // messages were handed out, or might have been

	s        *shard.Shard
	epoch    uint32
	heard    uint32    // the later epoch that this leader heard of, and that ended it; 0: none
	former   uint32    // the one that the leader before it in this process heard of
	refutes  uint32    // that is in no log; 0: none
	flights  []*flight // appends under way and soft batches behind them, in order
	failed   error     // an append failed: nothing more is appended in this epoch
	sends    []*waiting[*sendBatch]
	settles  []*waiting[*settleBatch]
	pieces   []pieceAsked // reads that go to the outlets
	openings openings
	attested []func()           // called when the open record is in the log
	outlets  map[string]*outlet // by node
	awaiting map[string]bool    // nodes that have not reported
	nodes    map[uint64]string  // by session, of those that have reported
	hearers  map[string]hearer  // the reverse, and by which report
	purged   uint64             // what was asked of the log
	purging  bool               // the log is asked now
	partial  map[string]*report // parts of reports, by node
	beats    int
	yields   yielding
	space    noSpace
	counted  shard.Counts // added to the engine's tally

	undertaker  *undertaker
	refused     []refusedLetter
	lettersFrom time.Time    // when those with a number go on; zero: now
	guests      map[int]host // by shard, who leads it and sends its dead letters
	doubts      doubts

	cleaning   bool   // an old record is being read
	cleanAfter uint64 // the last rewrite is applied when the state is here
}

// waiting is a batch of requests that waits for room in a record.
type waiting[B any] struct {
	batch B
	node  string
	bytes int // of window to give back, 0 for this node
	done  int // requests composed
	off   int // their bytes
}

// The pauses before a leader tries again to take its shard over: longer each time
// that it does not come to work.
const (
	leastRetry = 50 * time.Millisecond
	mostRetry  = time.Second
)

// partCache is how much a leader keeps in memory of the parts of large messages that
// are read.
const partCache = 8 << 20

// runLeader leads a shard until ctx ends: it takes over, works until an append
// fails, and takes over again in a new epoch.
func (e *Engine) runLeader(ctx context.Context, n int) {
	zl := e.log.With().Int("shard", n).Logger()
	pause, heard := leastRetry, uint32(0)
	for ctx.Err() == nil {
		l := newLeader(e, n, zl)
		l.former = heard
		err := l.takeOver(ctx)
		if err == nil {
			pause = leastRetry
			err = l.work(ctx)
		}
		if ctx.Err() != nil {
			break
		}
		if l.heard > 0 {
			heard = l.heard
		}
		level := zerolog.WarnLevel
		if pause > leastRetry {
			level = zerolog.DebugLevel // it was said that it does not come to work
		}
		zl.WithLevel(level).Err(err).Uint32("epoch", l.epoch).Msg("leader starts over")
		wait(ctx, pause)
		pause = min(2*pause, mostRetry)
		for errors.Is(err, errDeposed) && ctx.Err() == nil && e.portals[n].otherLeads(time.Now()) {
			wait(ctx, e.opts.Heartbeat) // the fabric will say that this node does not lead, or the other one ends
		}
	}
	zl.Info().Msg("shard is not led here any more")
}

func newLeader(e *Engine, n int, zl zerolog.Logger) *leader {
	return &leader{
		e: e, shard: n, log: e.opts.Fabric.Log(n), zl: zl,
		box: mailbox.New[func()](), cache: newBodyCache(e.opts.CacheBytes, e.metrics.logReads),
		parts:   newBodyCache(partCache, e.metrics.logReads),
		outlets: map[string]*outlet{}, awaiting: map[string]bool{}, nodes: map[uint64]string{}, hearers: map[string]hearer{},
		guests: map[int]host{}, partial: map[string]*report{}, openings: openings{byID: map[shard.SubID]*opening{}},
	}
}

// wait returns after d, or when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// takeOver reads the log, appends the record of a new epoch, and reads up to it.
func (l *leader) takeOver(ctx context.Context) error {
	begun := time.Now()
	dead := routing.Queue(l.e.opts.DeadLetter)
	l.s = shard.New(shard.Options{
		DeadLetter: dead, DeadLetterHere: l.e.shardOf(dead) == l.shard,
		MaxFailed: uint16(min(l.e.opts.MaxDeliveries, 1<<15)), SoftBytes: l.e.opts.SoftBytes, CleanAbove: l.e.opts.CleanAbove,
		CutBytes: l.e.opts.CutBytes, RecordTarget: l.e.opts.RecordBytes,
	})
	void := uint64(0) // records behind the last one that counts: no epoch before has met them
	err := replay(ctx, l.log, func(seq uint64, rec []byte) error {
		before := l.s.Counts().Void
		err := l.s.Apply(seq, rec, nil)
		if void++; l.s.Counts().Void == before {
			void = 0
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("reading the log: %w", err)
	}
	read := time.Since(begun)
	if err := l.settleEmptyLog(ctx); err != nil {
		return err
	}
	first := l.s.Lead(l.e.node, l.e.session, nowMilli())
	seq, err := l.appendEpoch(ctx, first.Rec)
	if err != nil {
		return fmt.Errorf("appending the record of a new epoch: %w", err)
	}
	if err := l.s.Apply(seq, first.Rec, first); err != nil {
		return err
	}
	l.counted = l.s.Counts()
	l.e.tally.void.Add(void)
	l.epoch = l.s.Epoch()
	l.clock = time.Now()
	l.refute()
	l.expectReports()
	l.lease.begin(l.e, l.shard)
	took := l.clock.Sub(begun)
	l.e.metrics.takeovers.Inc()
	l.e.metrics.takeover("read", read)
	l.e.metrics.takeover("epoch", took-read)
	l.zl.Info().Uint32("epoch", l.epoch).Int("messages", l.s.Live()).Dur("took", took).Dur("read", read).Dur("appended", took-read).
		Msg("shard is led here")
	return nil
}

// settleEmptyLog has the state follow a log whose records were all purged.
func (l *leader) settleEmptyLog(ctx context.Context) error {
	if l.s.LastSeq() != 0 {
		return nil
	}
	first, last, err := l.log.Bounds(ctx)
	if err != nil {
		return fmt.Errorf("asking for the log's bounds: %w", err)
	}
	if first <= last || last != 0 {
		return fmt.Errorf("the log has records %d to %d that could not be read", first, last)
	}
	return nil
}

func (l *leader) appendAndWait(ctx context.Context, expect uint64, rec []byte) (uint64, error) {
	type end struct {
		seq uint64
		err error
	}
	ch := make(chan end, 1)
	l.log.Append(expect, rec, func(seq uint64, err error) { ch <- end{seq, err} })
	select {
	case r := <-ch:
		return r.seq, r.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// expectReports lists who has to report before a message is handed out: the
// nodes that are up, and those that this process never met, since it cannot know whether
// they are, and that hold the log, or whose requests stand in it. A process that has just
// begun may wait in vain for one of these, for the report timeout.
func (l *leader) expectReports() {
	perhaps := slices.Clone(l.e.opts.Fabric.Replicas(l.shard))
	for session, node := range l.s.Owners() {
		if !l.e.left(node, session) {
			perhaps = append(perhaps, node)
		}
	}
	l.awaiting[l.e.node] = true
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	for node := range l.e.peers {
		l.awaiting[node] = true
	}
	for _, node := range perhaps {
		if !l.e.met[node] {
			l.awaiting[node] = true
		}
	}
	l.e.leaders[l.shard] = l
}

var errNotLeading = errors.New("the node does not lead the shard any more")

// work leads the shard in its epoch.
func (l *leader) work(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer func() {
		stop(errNotLeading)
		l.serving.Store(false)
		l.e.forget(l)
		l.giveWindowsBack()
		l.e.setFull(l.shard, false)
		if l.yields.rest != nil {
			close(l.yields.rest)
		}
		l.accountEnd()
		for _, o := range l.outlets {
			<-o.done
		}
		if l.undertaker != nil {
			<-l.undertaker.done
		}
	}()
	beat := time.NewTicker(l.e.opts.Heartbeat)
	defer beat.Stop()
	l.ping()
	var calls []func()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-beat.C:
			l.beat(now)
		case <-l.box.Ready():
		}
		calls = l.box.Take(calls)
		for _, f := range calls {
			f()
		}
		if l.failed != nil {
			if len(l.flights) == 0 || l.allAnswered() {
				return l.failed
			}
			continue
		}
		l.turn(ctx)
	}
}

// giveWindowsBack lets the nodes send on what they sent to a leader that ends:
// they send it again to the next one.
func (l *leader) giveWindowsBack() {
	l.fail(errNotLeading)
	for _, f := range l.box.Take(nil) {
		f()
	}
	for _, w := range l.sends {
		l.consumed(w.node, LaneSend, w.bytes)
	}
	for _, w := range l.settles {
		l.consumed(w.node, LaneSettle, w.bytes)
	}
}

// forget ends the traffic to a leader: nothing is put into its box afterwards.
func (e *Engine) forget(l *leader) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.leaders[l.shard] == l {
		delete(e.leaders, l.shard)
	}
}

// beat is what a leader does from time to time.
func (l *leader) beat(now time.Time) {
	l.ping()
	l.account()
	l.soft.Store(l.s.SoftBytes())
	if !l.yields.until.IsZero() && now.After(l.yields.until) {
		l.yields = yielding{}
	}
	if len(l.awaiting) > 0 && now.Sub(l.clock) >= l.e.opts.ReportTimeout {
		for node := range l.awaiting {
			l.zl.Warn().Str("from", node).Msg("node has not reported in time")
		}
		clear(l.awaiting)
	}
	if l.failed == nil {
		if len(l.awaiting) == 0 { // else it may be in flight, which is its consumer's
			l.s.Expire(nowMilli())
		}
		l.retryLetters(now)
		l.tryAgain(now)
		l.resolve(now)
		if l.beats++; l.beats%10 == 0 {
			l.forgetLeft()
			l.giveUpUploads()
		}
	}
}

// turn composes what waits, dispatches, and carries the effects out, until there
// is nothing to do before an append is answered.
func (l *leader) turn(ctx context.Context) {
	for {
		l.applyAnswered()
		if l.resting() {
			l.emit(ctx)
			return
		}
		l.s.Serve(l.mayServe())
		l.compose()
		l.s.Bury(!time.Now().Before(l.lettersFrom))
		l.s.Dispatch()
		l.clean(ctx)
		l.emit(ctx)
		if !l.flush() {
			return
		}
	}
}

// mayServe reports whether messages may be handed out: the nodes have reported,
// and the lease is held.
func (l *leader) mayServe() bool {
	ok := len(l.awaiting) == 0 && l.lease.held(time.Now())
	if ok != l.serving.Load() {
		l.serving.Store(ok)
		l.zl.Debug().Bool("serving", ok).Msg("dispatch switched")
	}
	if ok && !l.served {
		l.served = true
		waited := time.Since(l.clock)
		l.e.metrics.takeover("reports", waited)
		l.zl.Info().Uint32("epoch", l.epoch).Dur("reports", waited).Msg("shard hands messages out")
	}
	return ok
}

// meet notes who reports. What was on its way to a former process of that node, or goes
// by a former report, ends.
func (l *leader) meet(node string, by hearer) {
	if old, ok := l.hearers[node]; ok && old != by {
		l.part(node, old.session)
	}
	l.nodes[by.session], l.hearers[node] = node, by
}

func (l *leader) part(node string, session uint64) {
	if l.hearers[node].session == session {
		delete(l.hearers, node)
	}
	delete(l.nodes, session)
	delete(l.partial, node)
	l.partGuests(node)
	if o := l.outlets[node]; o != nil && o.to.session == session {
		o.stop()
		delete(l.outlets, node)
	}
}

// peerUp has a node that comes while others are waited for report first, too: it may have
// been there all the time, and have deliveries in flight.
func (l *leader) peerUp(node string) {
	if !l.served && len(l.awaiting) > 0 {
		l.awaiting[node] = true
	}
}

// peerDown ends what a node had: it is gone, or will report again.
func (l *leader) peerDown(node string, session uint64) {
	if l.s == nil {
		return
	}
	l.s.CloseSession(session)
	l.dropOpenings(node)
	delete(l.awaiting, node)
	for _, w := range l.sends { // the windows of a node that is down are gone
		if w.node == node {
			w.bytes = 0
		}
	}
	for _, w := range l.settles {
		if w.node == node {
			w.bytes = 0
		}
	}
	l.dropWaiting(node)
	l.part(node, session)
}
