// Package peers carries messages between nodes over core NATS: in order,
// without loss or repetition between two node sessions, or else the peer is
// reported down. It knows packets, windows and who is there; it does not know
// what the messages mean.
//
// Core NATS may drop, and never pushes back. So packets of a lane are numbered,
// kept until acknowledged and sent again, and the bytes under way are bounded
// by a window that the receiver gives back as it consumes.
package peers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/routing/engine"
)

// Defaults and limits.
const (
	defaultWindow     = 8 << 20
	defaultHeartbeat  = 100 * time.Millisecond
	defaultSuspect    = 2 * time.Second
	defaultAskTimeout = 5 * time.Second

	packetBytes   = 512 << 10             // messages are gathered up to this
	minPayload    = 64 << 10              // least max_payload of the connection
	tickMost      = 50 * time.Millisecond // longest time between looks at the lanes
	noticesMost   = 1024                  // notices that wait for the owner
	goodbyeFlush  = time.Second           // how long Close waits for its last words
	reportFailing = 10 * time.Second      // least time between reports of the same trouble
)

// Options says how Peers are built.
type Options struct {
	// Conn connects to the node's own server. The caller keeps and closes it,
	// after Close.
	Conn *nats.Conn
	// Node is this node's name: 1 to 255 bytes, different for each node.
	Node string
	// Session is the number of this process: random, not 0.
	Session uint64
	// Storage says that this node holds logs; others see it in Members.
	Storage bool
	// Window is how many bytes of messages each lane of each pair may have
	// under way, the control lane apart; 0: 8 MiB. Of two nodes the smaller one
	// holds.
	Window int
	// ControlWindow is the same for the control lane; 0: 8 MiB.
	ControlWindow int
	// Heartbeat is the time between signs of life; 0: 100 ms.
	Heartbeat time.Duration
	// Suspect is how long a node may be silent before it is reported down; 0:
	// 2 s. It is at least three heartbeats.
	Suspect time.Duration
	// AskTimeout bounds an Ask whose context has no deadline; 0: 5 s.
	AskTimeout time.Duration
	// Log receives the life of peers.
	Log zerolog.Logger
	// Metrics receives the collectors; nil: none are registered.
	Metrics prometheus.Registerer
}

// complete checks o and puts the defaults in.
func (o *Options) complete() error {
	switch {
	case o.Conn == nil:
		return errors.New("peers: Conn is missing")
	case o.Node == "" || len(o.Node) > maxNode:
		return fmt.Errorf("peers: Node must have 1 to %d bytes", maxNode)
	case o.Session == 0:
		return errors.New("peers: Session must not be 0")
	case o.Window < 0 || o.ControlWindow < 0:
		return errors.New("peers: Window and ControlWindow must not be negative")
	case o.Heartbeat < 0 || o.Suspect < 0 || o.AskTimeout < 0:
		return errors.New("peers: Heartbeat, Suspect and AskTimeout must not be negative")
	case o.Conn.MaxPayload() < minPayload:
		return fmt.Errorf("peers: the server's max_payload is %d, less than %d", o.Conn.MaxPayload(), minPayload)
	}
	orInt := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	orTime := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	orInt(&o.Window, defaultWindow)
	orInt(&o.ControlWindow, defaultWindow)
	orTime(&o.Heartbeat, defaultHeartbeat)
	orTime(&o.Suspect, defaultSuspect)
	orTime(&o.AskTimeout, defaultAskTimeout)
	if o.Suspect < 3*o.Heartbeat {
		return errors.New("peers: Suspect must be at least three times Heartbeat")
	}
	return nil
}

// table finds pairs; it is replaced as a whole.
type table struct {
	nodes    map[string]*pair
	sessions map[uint64]*pair
}

// Peers is engine.Peers over core NATS. Methods are safe for concurrent use.
//
// The messages of a packet that Receive hands over lie in one piece of memory
// of up to 512 KiB: who keeps a small message for long copies it.
type Peers struct {
	conn       *nats.Conn
	node       string
	session    uint64
	heartbeat  time.Duration
	askTimeout time.Duration
	largest    int // longest message that fits a packet
	log        zerolog.Logger
	stats      *stats
	roster     *roster
	writer     *writer
	began      time.Time
	publish    func(subject string, data []byte) error

	pairs   atomic.Pointer[table] // written by the owner alone
	handler engine.PeerHandler    // set by Start, before started
	started atomic.Bool
	failing atomic.Int64 // when trouble with publishing was last reported

	notices chan notice    // the subscription puts in, the owner takes out; never closed
	asks    chan *nats.Msg // the subscription puts in, the answerers take out; never closed
	done    chan struct{}  // closed by Close
	subs    []*nats.Subscription
	wg      sync.WaitGroup

	mu     sync.Mutex
	closed bool
	cancel context.CancelFunc // set by Start; ends the Answers under way
}

var _ engine.Peers = (*Peers)(nil)

// New returns Peers that listen but stay silent until Start.
func New(o Options) (*Peers, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	st, err := newStats(o.Metrics)
	if err != nil {
		return nil, fmt.Errorf("peers: register metrics: %w", err)
	}
	began := time.Now()
	largest := int(o.Conn.MaxPayload()) - headLen - frameLen
	with := &pairing{
		session: o.Session, window: uint64(o.Window), control: uint64(o.ControlWindow), //nolint:gosec // not negative
		batch: min(packetBytes, largest), pool: &pool{largest: packetBytes},
	}
	p := &Peers{
		conn: o.Conn, node: o.Node, session: o.Session,
		heartbeat: o.Heartbeat, askTimeout: o.AskTimeout, largest: largest,
		log: o.Log, stats: st, writer: newWriter(), began: began,
		// Numbers that begin with the clock grow over restarts of Peers within a process too.
		roster:  newRoster(o.Node, o.Storage, o.Suspect, with, uint64(began.UnixNano())),
		publish: o.Conn.Publish,
		notices: make(chan notice, noticesMost), asks: make(chan *nats.Msg, asksMost), done: make(chan struct{}),
	}
	p.pairs.Store(&table{})
	p.failing.Store(int64(-reportFailing))
	if err := p.subscribe(); err != nil {
		p.unsubscribe()
		st.close()
		return nil, err
	}
	return p, nil
}

// subscribe listens on all subjects of this node. The client's own limits are
// off: windows bound the lanes, and the other callbacks never wait.
func (p *Peers) subscribe() error {
	add := func(subject string, f nats.MsgHandler) error {
		s, err := p.conn.Subscribe(subject, f)
		if err != nil {
			return fmt.Errorf("peers: subscribe to %s: %w", subject, err)
		}
		p.subs = append(p.subs, s)
		if err := s.SetPendingLimits(-1, -1); err != nil {
			return fmt.Errorf("peers: lift the limits of %s: %w", subject, err)
		}
		return nil
	}
	errs := make([]error, 0, len(laneNames)+4)
	for k, name := range laneNames {
		lane := engine.Lane(k)
		errs = append(errs, add(subjectOf(p.node, name), func(m *nats.Msg) { p.arrive(lane, m.Data) }))
	}
	errs = append(errs,
		add(subjectAll, p.noticed),
		add(subjectOf(p.node, "notice"), p.noticed),
		add(subjectOf(p.node, "ask"), p.asked),
		p.conn.Flush())
	return errors.Join(errs...)
}

// unsubscribe ends all subscriptions.
func (p *Peers) unsubscribe() {
	for _, s := range p.subs {
		if err := s.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			p.log.Debug().Err(err).Str("subject", s.Subject).Msg("unsubscribe")
		}
	}
}

// Start begins to call h, and to show this node to the others. It is called once.
func (p *Peers) Start(h engine.PeerHandler) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.started.Load() {
		return
	}
	p.handler = h
	p.started.Store(true)
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	p.wg.Go(p.own)
	p.wg.Go(p.write)
	for range answerers {
		p.wg.Go(func() { p.answer(ctx) })
	}
}

// Self returns this node's name and session.
func (p *Peers) Self() (node string, session uint64) { return p.node, p.session }

// Members returns the other nodes that were heard of, by name. A node that is
// down stays for an hour.
func (p *Peers) Members() []Member { return p.roster.members(p.began) }

// Send implements engine.Peers. A message that no packet can hold, because the
// server's max_payload is too small, is refused each time, and logged.
func (p *Peers) Send(to string, lane engine.Lane, msg []byte) bool {
	pr := p.pairs.Load().nodes[to]
	if pr == nil || lane >= engine.Lanes || !pr.up.Load() || pr.ending.Load() {
		return false
	}
	if len(msg) > p.largest {
		p.log.Error().Str("peer", to).Str("lane", laneNames[lane]).Int("bytes", len(msg)).
			Int("limit", p.largest).Msg("message is larger than max_payload allows")
		return false
	}
	taken, wake := pr.lanes[lane].push(msg)
	if wake {
		p.writer.put(pr.lanes[lane])
	}
	if !taken {
		p.stats.full[lane].Inc()
	}
	return taken
}

// Consumed implements engine.Peers. After PeerDown the messages received before
// are not to be reported any more; what exceeds the new pair's bytes is ignored.
func (p *Peers) Consumed(from string, lane engine.Lane, n int) {
	pr := p.pairs.Load().nodes[from]
	if pr == nil || lane >= engine.Lanes {
		return
	}
	if pr.lanes[lane].consume(n) {
		p.writer.put(pr.lanes[lane])
	}
}

// Reset implements engine.Peers. The two ends meet again after an eighth of Suspect; if
// that pair has to be ended too, within a minute, after longer each time.
func (p *Peers) Reset(node string) {
	if pr := p.pairs.Load().nodes[node]; pr != nil && pr.up.Load() {
		pr.ending.Store(true)
	}
}

// Close sends what was taken, says goodbye, so that the others report this node
// down at once, and waits until the handler is not called any more. It must not
// be called by the handler.
func (p *Peers) Close() {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.closed = true
	if p.cancel != nil {
		p.cancel()
	}
	p.mu.Unlock()
	for _, pr := range p.pairs.Load().nodes {
		pr.up.Store(false)
		for _, l := range pr.lanes {
			if l.hasten() {
				p.writer.put(l)
			}
		}
	}
	close(p.done)
	p.wg.Wait()
	if p.started.Load() {
		bye := p.roster.beat(kindGoodbye)
		p.post(subjectAll, bye.encode())
	}
	p.unsubscribe()
	for _, pr := range p.pairs.Load().nodes {
		pr.close()
	}
	if err := p.conn.FlushTimeout(goodbyeFlush); err != nil {
		p.log.Debug().Err(err).Msg("goodbye was not flushed")
	}
	p.stats.close()
}

// now returns the time on the Peers' clock.
func (p *Peers) now() time.Duration { return time.Since(p.began) }

// post publishes and reports trouble now and then; what was lost is sent again.
func (p *Peers) post(subject string, data []byte) {
	err := p.publish(subject, data)
	if err == nil {
		return
	}
	now, last := int64(p.now()), p.failing.Load()
	if now-last >= int64(reportFailing) && p.failing.CompareAndSwap(last, now) {
		p.log.Warn().Err(err).Str("subject", subject).Msg("cannot publish to peers")
	}
}

// replace changes the table of pairs. The owner alone calls it.
func (p *Peers) replace(change func(t *table)) {
	old := p.pairs.Load()
	t := &table{nodes: maps.Clone(old.nodes), sessions: maps.Clone(old.sessions)}
	if t.nodes == nil {
		t.nodes, t.sessions = map[string]*pair{}, map[uint64]*pair{}
	}
	change(t)
	p.pairs.Store(t)
}
