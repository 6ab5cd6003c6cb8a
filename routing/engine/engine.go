// Package engine is the broker over shards: it takes envelopes from sessions to
// the leaders of their shards, groups them into records of the log, and brings
// deliveries back. It knows nodes, shards and time; it does not know NATS, wire
// protocols or files.
//
// On each node, a portal per shard speaks for the node's clients: it numbers
// their requests, keeps them until they are confirmed, and follows the shard's
// leader wherever it is. A leader runs on the node that the fabric names; it owns
// the shard's machine (package shard) and its log. The hub fans topics out.
// Portals, leaders and the hub are goroutines that own their state; everything
// comes to them through mailboxes.
package engine

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/shard"
)

// Options build an engine. Zero fields mean the default; Fabric and Peers are
// required.
type Options struct {
	Fabric     Fabric
	Peers      Peers
	Authorizer routing.Authorizer // nil allows everything
	// Admit is asked before each send is taken in, by many goroutines, and must not
	// block: its error, a *routing.Error, is the answer. Nil admits everything.
	Admit   func() error
	Log     zerolog.Logger
	Metrics prometheus.Registerer // nil registers nothing

	SendTimeout   time.Duration // until an unconfirmed request fails; default 15 s
	ReportTimeout time.Duration // a new leader waits for the nodes' reports; default 500 ms
	Lease         time.Duration // how long an answered heartbeat lets a leader dispatch; default 400 ms
	Heartbeat     time.Duration // of leaders; default 100 ms
	MaxDeliveries int           // failed attempts until a message is dead-lettered; default 10
	DeadLetter    string        // queue for rejected messages; default "ActiveMQ.DLQ"
	MessageSize   int           // greatest message in bytes; default 100 MiB
	WholeSize     int           // greatest message that is sent as a whole, in bytes; default 4 MiB
	Uploads       int           // of one session at a time; default 64
	UploadWindow  int64         // parts of large messages on their way from this node to a shard; default 2 MiB
	UploadIdle    time.Duration // without a new part, until an upload is given up by its shard; default 5 min
	HeldBytes     int64         // unconfirmed sends of this node's clients, from which they are asked to pause; default 64 MiB
	HeldMost      int64         // the same, from which sends are refused; default twice HeldBytes
	Transactions  int           // open in one session; default 1024
	TxBytes       int64         // held by one transaction until its commit; all of a node hold HeldBytes; default 4 MiB or the greatest message
	SoftBytes     int64         // non-persistent messages of a shard; default 64 MiB
	TopicBytes    int64         // waiting for one topic subscription without credit; default 16 MiB
	ControlBytes  int64         // control messages that wait for a node beyond its window, until the connection with it ends; default 16 MiB
	CacheBytes    int           // bodies of a shard kept in memory by its leader; default 32 MiB
	CleanAbove    int64         // bytes of a shard's log below which nothing is rewritten; default 64 MiB
	Temporaries   int           // temporary addresses of one session; default 1000
	CutBytes      int64         // bytes at the log's head, nothing of them live, that are worth a purge; default 8 MiB
	RecordBytes   int           // a record of this size takes in nothing more; default 512 KiB
}

func (o Options) withDefaults() (Options, error) {
	if o.Fabric == nil || o.Peers == nil {
		return o, errors.New("engine: Options.Fabric and Options.Peers are required")
	}
	setDefault(&o.SendTimeout, 15*time.Second)
	setDefault(&o.ReportTimeout, 500*time.Millisecond)
	setDefault(&o.Lease, 400*time.Millisecond)
	setDefault(&o.Heartbeat, 100*time.Millisecond)
	setDefault(&o.MaxDeliveries, 10)
	setDefault(&o.DeadLetter, "ActiveMQ.DLQ")
	setDefault(&o.MessageSize, 100<<20)
	setDefault(&o.WholeSize, 4<<20)
	setDefault(&o.Uploads, 64)
	setDefault(&o.UploadWindow, 2<<20)
	setDefault(&o.UploadIdle, 5*time.Minute)
	setDefault(&o.HeldBytes, 64<<20)
	setDefault(&o.HeldMost, 2*o.HeldBytes)
	setDefault(&o.Transactions, 1024)
	setDefault(&o.TxBytes, max(4<<20, int64(min(o.MessageSize, o.WholeSize))+8192))
	setDefault(&o.SoftBytes, 64<<20)
	setDefault(&o.TopicBytes, 16<<20)
	setDefault(&o.ControlBytes, 16<<20)
	setDefault(&o.CacheBytes, 32<<20)
	setDefault(&o.CleanAbove, 64<<20)
	setDefault(&o.CutBytes, 8<<20)
	setDefault(&o.RecordBytes, 512<<10)
	setDefault(&o.Temporaries, 1000)
	return o, o.check()
}

// MaxLarge is the most that Options.MessageSize can be: parts have numbers.
const MaxLarge = 1 << 30

// MaxMessage is the most that Options.WholeSize and Options.TxBytes can be: a
// record holds it behind one that is not quite full. More would be a request that
// no record can hold, and that stops its shard.
const MaxMessage = shard.MaxRecord - 1<<20

// maxRecordBytes leaves room in a record for MaxMessage, and for what goes with it.
const maxRecordBytes = 768 << 10

// check says which field is wrong.
func (o Options) check() error {
	for _, f := range []struct {
		name        string
		value, most int64
	}{
		{"SendTimeout", int64(o.SendTimeout), math.MaxInt64},
		{"ReportTimeout", int64(o.ReportTimeout), math.MaxInt64},
		{"Lease", int64(o.Lease), math.MaxInt64},
		{"Heartbeat", int64(o.Heartbeat), math.MaxInt64},
		{"MaxDeliveries", int64(o.MaxDeliveries), math.MaxInt64},
		{"MessageSize", int64(o.MessageSize), MaxLarge},
		{"WholeSize", int64(o.WholeSize), MaxMessage},
		{"Uploads", int64(o.Uploads), math.MaxInt64},
		{"UploadWindow", o.UploadWindow, math.MaxInt64},
		{"UploadIdle", int64(o.UploadIdle), math.MaxInt64},
		{"HeldBytes", o.HeldBytes, o.HeldMost},
		{"Transactions", int64(o.Transactions), math.MaxInt64},
		{"TxBytes", o.TxBytes, MaxMessage},
		{"SoftBytes", o.SoftBytes, math.MaxInt64},
		{"TopicBytes", o.TopicBytes, math.MaxInt64},
		{"ControlBytes", o.ControlBytes, math.MaxInt64},
		{"CacheBytes", int64(o.CacheBytes), math.MaxInt64},
		{"CleanAbove", o.CleanAbove, math.MaxInt64},
		{"Temporaries", int64(o.Temporaries), math.MaxInt64},
		{"CutBytes", o.CutBytes, math.MaxInt64},
		{"RecordBytes", int64(o.RecordBytes), maxRecordBytes},
	} {
		if f.value < 0 || f.value > f.most {
			return fmt.Errorf("engine: Options.%s is %d, want 0 to %d", f.name, f.value, f.most)
		}
	}
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Engine implements routing.Broker.
type Engine struct {
	opts    Options
	log     zerolog.Logger
	node    string
	session uint64
	metrics *metrics
	gates   gates

	portals []*portal
	hub     *hub
	commits *committer
	held    atomic.Int64 // bytes of unconfirmed sends
	pending atomic.Int64 // bytes in open transactions

	uploads   atomic.Uint64 // number of the latest upload
	uploading atomic.Int64  // open ones
	heads     atomic.Int64  // bytes of their heads
	nextSub   atomic.Uint64
	sends     atomic.Uint64
	given     atomic.Uint64 // deliveries handed to this node's clients
	tally     tally
	temps     temporaries

	stop context.CancelCauseFunc
	wg   sync.WaitGroup

	importing atomic.Bool // Import was called: this engine has no clients

	over atomic.Bool // Close was called: nobody looks into the mailboxes any more

	mu       sync.Mutex
	leaders  map[int]*leader
	full     map[int]bool      // shards whose logs have no room
	saidFull map[int]fullWord  // when that was last said aloud
	peers    map[string]uint64 // nodes that are up, with their sessions
	changed  time.Time         // when a node last came or went
	met      map[string]bool   // nodes that were up since this process began, and itself
	closed   bool
}

// New starts an engine: its portals look for leaders, and leaders run for the
// shards that the fabric says this node leads.
func New(o Options) (*Engine, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancelCause(context.Background())
	e := &Engine{opts: o, log: o.Log, stop: stop, leaders: map[int]*leader{}, full: map[int]bool{}, saidFull: map[int]fullWord{}, peers: map[string]uint64{}}
	e.temps.owners = map[routing.Address]*session{}
	e.gates = gates{lanes: map[gate]chan struct{}{}, control: map[string]*controlList{}}
	e.node, e.session = o.Peers.Self()
	e.met = map[string]bool{e.node: true}
	e.metrics = newMetrics(e, o.Metrics)
	e.hub = newHub(e)
	e.commits = newCommitter(e)
	for shard := range o.Fabric.Shards() {
		e.portals = append(e.portals, newPortal(e, shard))
	}
	for _, p := range e.portals {
		e.wg.Go(func() { p.run(ctx) })
	}
	e.wg.Go(func() { e.hub.run(ctx) })
	e.wg.Go(func() { e.commits.run(ctx) })
	o.Peers.Start(e)
	e.wg.Go(func() { e.lead(ctx) })
	return e, nil
}

var errClosed = errors.New("the engine is closed")

// Close stops everything at once. Requests under way end with CodeClosed.
func (e *Engine) Close() {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.over.Store(true)
	e.stop(errClosed)
	e.wg.Wait()
}

// lead follows the fabric's word on which shards this node leads.
func (e *Engine) lead(ctx context.Context) {
	type running struct {
		stop context.CancelFunc
		done chan struct{}
	}
	led := map[int]running{}
	end := func(shard int) {
		if r, ok := led[shard]; ok {
			r.stop()
			<-r.done
			delete(led, shard)
		}
	}
	defer func() {
		for shard := range led {
			end(shard)
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case l, ok := <-e.opts.Fabric.Leadership():
			if !ok {
				return
			}
			end(l.Shard)
			if !l.Leads {
				continue
			}
			lctx, stop := context.WithCancel(ctx)
			r := running{stop: stop, done: make(chan struct{})}
			led[l.Shard] = r
			e.wg.Go(func() {
				defer close(r.done)
				e.runLeader(lctx, l.Shard)
			})
		}
	}
}

// shardOf returns the shard in which an address lives.
func (e *Engine) shardOf(a routing.Address) int {
	h := fnv.New64a()
	_, _ = h.Write([]byte{byte(a.Kind)})
	_, _ = h.Write([]byte(a.Name))
	return int(h.Sum64() % uint64(len(e.portals)))
}

// atLeader has this node's leader of a shard call f, and reports whether there
// is one.
func (e *Engine) atLeader(shard int, f func(l *leader)) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.leaders[shard]
	if l == nil {
		return false
	}
	l.box.Put(func() { f(l) })
	return true
}

// heed has this node's leader of a shard take what a node meant for it in an epoch, and
// reports whether there is a leader. What was meant for a former one, or for one that has
// failed, is dropped: the node says it anew to the next one. A later epoch deposes the
// leader.
func (e *Engine) heed(n int, from string, epoch uint32, take func(l *leader), drop func()) bool {
	return e.atLeader(n, func(l *leader) {
		l.depose(from, epoch)
		switch {
		case epoch == l.epoch && l.failed == nil:
			take(l)
		case drop != nil:
			drop()
		}
	})
}

// leaderOf returns this node's leader of a shard, nil if it leads it not.
func (e *Engine) leaderOf(shard int) *leader {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.leaders[shard]
}

// Stats are what a node says of itself.
type Stats struct {
	Sends      uint64 // envelopes taken in from clients
	Deliveries uint64 // handed to clients
	Counts     Counts
	ShardsLed  []int
	Full       []int // shards that this node leads, or should, and whose logs have no room
	Ready      bool  // every shard has a leader that this node follows
}

// Stats returns the counts since the start.
func (e *Engine) Stats() Stats {
	st := Stats{Sends: e.sends.Load(), Deliveries: e.given.Load(), Counts: e.tally.counts(), Ready: true, ShardsLed: []int{}}
	for shard, p := range e.portals {
		if !p.joined.Load() {
			st.Ready = false
		}
		if l := e.leaderOf(shard); l != nil && l.serving.Load() {
			st.ShardsLed = append(st.ShardsLed, shard)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	st.Full = slices.Sorted(maps.Keys(e.full))
	return st
}
