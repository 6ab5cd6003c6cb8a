package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/selvedge-mq/selvedge/cluster/blocks"
	"github.com/selvedge-mq/selvedge/cluster/peers"
	"github.com/selvedge-mq/selvedge/routing/engine"
)

// serverEvery is the time between two looks whether the embedded server stores.
const serverEvery = time.Second

// Node is one node of the fabric: the embedded server, this node's part of the
// logs, and what it knows of the other nodes. It implements engine.Fabric.
type Node struct {
	opts      Options
	lock      *os.File // of the data folder, nil without one
	marker    Marker
	importDir string
	apart     bool // it does not enter the registry
	session   uint64
	started   time.Time
	replicas  *replicas
	state     folderState  // of check, then of watchState, then of keepClean
	names     *folderNames // of all that the embedded server stores; of start, then of watchState
	suspects  chan int     // shards whose files are to be looked at
	damaged   atomic.Bool  // a replica was found damaged, or stranded, while serving

	server     *embedded
	store      *store
	registry   *registry
	logs       []*shardLog
	peersConn  *nats.Conn
	peers      *peers.Peers
	members    *members
	leadership *leadership
	infos      *infos
	metrics    *metrics

	cancel context.CancelFunc
	wg     sync.WaitGroup
	failed chan error
	// failing says that somebody has begun to report the failure.
	failing atomic.Bool
	opened  atomic.Bool // everything is set: metrics may read it

	closeOnce sync.Once
	closeErr  error
}

var (
	_ engine.Fabric   = (*Node)(nil)
	_ engine.Majority = (*Node)(nil)
)

// Open starts a node. A standalone node is ready when Open returns; a node of a
// cluster gets ready when it meets a majority of the others, see [Node.Ready].
// ctx bounds the start alone.
func Open(ctx context.Context, o Options) (*Node, error) { return open(ctx, o, false) }

// open is Open; apart means that the folder is read for its import, and nothing is
// noted in it.
func open(ctx context.Context, o Options, apart bool) (*Node, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	o.Log = o.Log.With().Str("node", o.Node).Logger()
	n := &Node{
		opts:     o,
		apart:    apart,
		session:  randomSession(),
		started:  time.Now().UTC().Truncate(time.Second),
		failed:   make(chan error, 1),
		suspects: make(chan int, maxShards),
		replicas: newReplicas(o.OnHealth),
		cancel:   func() {},
	}
	if err := n.start(ctx); err != nil {
		n.release()
		n.unlock()
		return nil, err
	}
	o.Log.Info().Str("cluster", o.ClusterName).Int("shards", len(n.logs)).Bool("storage", !o.FrontOnly).
		Uint64("session", n.session).Msg("fabric started")
	return n, nil
}

// start brings everything up in order; what came up before an error is in n.
func (n *Node) start(ctx context.Context) error {
	err := checkSeeds(ctx, n.opts, net.DefaultResolver.LookupHost)
	if err != nil {
		return err
	}
	if n.lock, err = claimFolder(n.opts); err != nil {
		return err
	}
	if n.marker, n.importDir, err = prepareFolder(n.opts); err != nil {
		return err
	}
	if n.marker.Shards != n.opts.Shards && !n.apart {
		n.opts.Log.Warn().Int("folder", n.marker.Shards).Int("setting", n.opts.Shards).
			Msg("the number of shards was chosen when the folder was new: the setting is ignored")
	}
	if n.metrics, err = newMetrics(n.opts.Metrics, n); err != nil {
		return err
	}
	if err := n.checkIn(ctx); err != nil {
		return err
	}
	if err := n.check(ctx); err != nil {
		return err
	}
	if n.server, err = startServer(ctx, n.opts, n.metrics, net.DefaultResolver.LookupHost); err != nil {
		return err
	}
	if n.store, err = newStore(n.server, n.opts.AppendTimeout, n.metrics); err != nil {
		return err
	}
	n.registry = newRegistry(n.store)
	n.store.check = n.opts.Intact
	if !n.opts.FrontOnly {
		n.store.dir = n.opts.Dir
	}
	for shard := range n.marker.Shards {
		n.logs = append(n.logs, n.openLog(shard))
	}
	if err := n.meet(); err != nil {
		return err
	}
	n.leadership = newLeadership(len(n.logs), n.metrics)
	n.infos = newInfos(len(n.logs))
	if err := n.layDown(ctx); err != nil {
		return err
	}
	if err := errors.Join(n.listenRegistry(), listenNames(n.store, n.members, n.opts.Node)); err != nil {
		return err
	}
	if !n.opts.FrontOnly {
		if err := errors.Join(n.listenGrants(context.WithoutCancel(ctx)), n.listenSuspects(), n.listenElections(), n.listenStanding()); err != nil {
			return err
		}
	}
	n.opened.Store(true)
	n.run(context.WithoutCancel(ctx))
	return nil
}

// openLog returns the log of a shard. Where this node alone confirms what is in it, the
// names of its files are durable before that.
func (n *Node) openLog(shard int) *shardLog {
	l := newShardLog(n.store, shard)
	if !n.opts.clustered() && n.opts.SyncInterval == 0 {
		l.names = newFolderNames(blocks.Dir(streamDir(n.opts.Dir, shard)), false)
	}
	return l
}

// layDown makes the logs of a node on its own, and has the names of all files durable
// that the embedded server has made so far.
func (n *Node) layDown(ctx context.Context) error {
	if !n.opts.clustered() {
		if err := n.createAll(ctx); err != nil {
			return err
		}
	}
	if n.opts.FrontOnly {
		return nil
	}
	n.names = newFolderNames(filepath.Join(n.opts.Dir, storeName), true)
	if err := errors.Join(n.names.keep(), syncDir(n.opts.Dir)); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	return nil
}

// meet sets up what the node knows of the others, and says to them.
func (n *Node) meet() error {
	var err error
	if n.peersConn, err = n.server.connect("peers"); err != nil {
		return err
	}
	n.peers, err = peers.New(peers.Options{
		Conn:    n.peersConn,
		Node:    n.opts.Node,
		Session: n.session,
		Storage: !n.opts.FrontOnly,
		Log:     n.opts.Log,
		Metrics: n.opts.Metrics,
	})
	if err != nil {
		return fmt.Errorf("cluster: set up the peers: %w", err)
	}
	n.members, err = newMembers(n.store.nc, Member{
		Name: n.opts.Node, Session: n.session, State: MemberUp, Storage: !n.opts.FrontOnly, Version: n.opts.Version,
	}, n.replicas.list, n.opts.Log)
	return err
}

// run starts the loops that watch and help, until release ends them.
func (n *Node) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	n.cancel = cancel
	loops := []func(context.Context){n.watchLeadership, n.leadership.pump, n.members.announce, n.watchServer}
	if !n.apart {
		loops = append(loops, n.watchRegistry)
	}
	if !n.opts.FrontOnly {
		loops = append(loops, n.watchState, n.watchSuspects)
		if n.opts.Scrub > 0 {
			loops = append(loops, n.scrub)
		}
	}
	if n.opts.clustered() {
		loops = append(loops, n.watchInfos, n.place)
		if !n.opts.FrontOnly {
			loops = append(loops, n.spread)
		}
	}
	for _, loop := range loops {
		n.wg.Go(func() { loop(ctx) })
	}
}

// watchServer reports when the embedded server ends by itself, or writes no more.
func (n *Node) watchServer(ctx context.Context) {
	t := time.NewTicker(serverEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.server.log.failed:
			n.failServer(n.server.log.err())
			return
		case <-t.C:
			if !n.stores() && !n.damaged.Load() {
				n.server.log.fail(fmt.Errorf("%w: the embedded server has given its storage up", ErrStorage))
			}
		}
	}
}

// stores says whether the embedded server stores what this node is to store.
func (n *Node) stores() bool { return n.opts.FrontOnly || n.server.srv.JetStreamEnabled() }

// failServer reports a failure of the embedded server. What could not be written
// is read back and repaired by the next start, where the disk allows it.
func (n *Node) failServer(err error) {
	if errors.Is(err, ErrStorage) {
		err = fmt.Errorf("%w: %w", ErrReopen, err)
	}
	n.fail(err)
}

// fail reports that the node cannot go on; the first report counts.
func (n *Node) fail(err error) { n.failNoting(nil, err) }

// failNoting is fail for what the next start has to know: change, which may be nil, notes
// it in the folder's marker. Only the first report does, so one alone writes it.
func (n *Node) failNoting(change func(m *Marker), err error) {
	if n.failing.Swap(true) {
		return
	}
	if change != nil {
		n.note(change)
	}
	n.opts.Log.Error().Err(err).Msg("fabric failed")
	if n.members != nil {
		n.members.end(err)
	}
	n.failed <- err // the only one
}

// note changes the marker in the folder, and not the one in memory, which others read. A
// node on its own, or without storage, has nothing to note. The start calls it, and then
// failNoting.
func (n *Node) note(change func(m *Marker)) {
	m := n.marker
	if m.Format != FormatCluster {
		return
	}
	change(&m)
	if err := saveMarker(n.opts.Dir, m); err != nil {
		n.opts.Log.Warn().Err(err).Msg("data folder does not tell the next start why this one ends")
	}
}

// Failed returns a channel that receives the reason, once, when the node cannot
// go on and must be closed.
func (n *Node) Failed() <-chan error { return n.failed }

// Name returns the node's name.
func (n *Node) Name() string { return n.opts.Node }

// Session returns the number of this process, random and never 0.
func (n *Node) Session() uint64 { return n.session }

// Peers returns the carrier of messages between nodes. It is closed by Close.
func (n *Node) Peers() engine.Peers { return n.peers }

// ImportDir returns the standalone folder that waits to be imported into the
// cluster, empty if there is none. [OpenFolder] opens it.
func (n *Node) ImportDir() string { return n.importDir }

// Shards returns the number of shards.
func (n *Node) Shards() int { return len(n.logs) }

// Log returns a shard's log.
func (n *Node) Log(shard int) engine.Log { return n.logs[shard] }

// Leadership returns the channel that tells which shards this node leads.
func (n *Node) Leadership() <-chan engine.Leadership { return n.leadership.out }

// ClusterAddr returns the address that routes are accepted at, empty for a
// standalone node.
func (n *Node) ClusterAddr() string {
	if !n.opts.clustered() {
		return ""
	}
	if a := n.server.srv.ClusterAddr(); a != nil {
		return net.JoinHostPort(a.IP.String(), strconv.Itoa(a.Port))
	}
	return n.opts.Listen
}

// Close stops the node. Before, it hands over what it leads, as long as ctx
// allows. The logs and peers cannot be used any more: who uses them ends first.
func (n *Node) Close(ctx context.Context) error {
	n.closeOnce.Do(func() {
		start := time.Now()
		n.members.leave()
		if n.opts.clustered() && !n.opts.FrontOnly && !n.damaged.Load() {
			n.handOver(ctx)
		}
		last, inOrder := n.finalStates(), n.inOrder()
		n.release()
		n.closeErr = n.keepClean(last, inOrder && n.server.log.err() == nil)
		n.unlock()
		n.opts.Log.Info().Dur("after", time.Since(start)).Msg("fabric stopped")
	})
	return n.closeErr
}

// Kill stops the node at once, without handing anything over, as far as a
// process can do that to itself: for tests of what the others do then.
func (n *Node) Kill() {
	n.closeOnce.Do(func() {
		n.release()
		n.unlock()
	})
}

// release stops and frees whatever was started.
func (n *Node) release() {
	n.opened.Store(false)
	if n.metrics != nil {
		n.metrics.close()
	}
	n.cancel()
	n.wg.Wait()
	if n.peers != nil {
		n.peers.Close()
	}
	for _, l := range n.logs {
		_ = l.Close() // never fails
	}
	if n.members != nil {
		n.members.close()
	}
	if n.peersConn != nil {
		n.peersConn.Close()
	}
	if n.store != nil {
		n.store.close()
	}
	if n.server != nil {
		n.server.stop()
	}
}

// unlock lets another process use the folder.
func (n *Node) unlock() {
	if n.lock != nil {
		_ = n.lock.Close() // only the lock is in it
	}
}

// newStore connects to the streams.
func newStore(e *embedded, appendTimeout time.Duration, m *metrics) (*store, error) {
	nc, err := e.connect("reads")
	if err != nil {
		return nil, err
	}
	app, err := newAppender(e, appendTimeout, m)
	if err != nil {
		nc.Close()
		return nil, err
	}
	return &store{srv: e.srv, nc: nc, app: app}, nil
}

// close ends the connections; appends under way are answered.
func (s *store) close() {
	s.app.close()
	s.nc.Close()
}

// errNotReady is the kind of answers of Ready.
var errNotReady = errors.New("cluster: not ready")
