package gateway

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/gateway/api"
	"github.com/selvedge-mq/selvedge/gateway/auth"
	"github.com/selvedge-mq/selvedge/gateway/certs"
	"github.com/selvedge-mq/selvedge/gateway/config"
	"github.com/selvedge-mq/selvedge/protocols"
)

const (
	readyEvery   = 20 * time.Millisecond // between two looks whether the node can serve
	waitingFirst = 2 * time.Second       // to the first log line that it cannot yet, then twice as long
	waitingEvery = 10 * time.Second      // between two such lines, at most
	handOverFor  = 3 * time.Second       // for the shards to find other leaders, at most
	confirmFor   = time.Second           // for confirmations, before connections end and after, at most each
)

// Options are what a [Node] is built from.
type Options struct {
	Config  *config.Config
	Version string
	Out     io.Writer // takes the ready line, nothing else
	Err     io.Writer // takes the log and the hint
	// Load reads the configuration again, for users and rules that are renewed; nil:
	// they stay what they are.
	Load func() (*config.Config, error)
	// Hangup asks for that at once; may be nil.
	Hangup <-chan os.Signal
	// Misspelled are variables of the environment that are logged because no setting
	// reads them.
	Misspelled []config.Misspelled
}

// Node is one running broker.
type Node struct {
	cfg      *config.Config
	version  string
	out, err io.Writer
	load     func() (*config.Config, error)
	hangup   <-chan os.Signal

	base       zerolog.Logger // for the cluster, which adds the node's name itself
	log        zerolog.Logger
	metrics    *metrics
	registry   *prometheus.Registry
	auth       *auth.Authenticator
	rules      *auth.Rules
	conns      *conns
	entrance   *entrance
	certs      []*certs.Source // to follow
	clusterTLS *tls.Config     // nil: nodes speak in the clear
	web        *webServers
	disk       *disk
	traces     *protocols.Traces
	status     *status
	table      []protocol
	assemble   assembly

	fabric    fabric
	broker    broker
	listeners []*listener
	alone     chan struct{}  // closed when it drains and nobody confirms anything any more
	ready     time.Time      // when it began to take clients; zero: not yet
	wg        sync.WaitGroup // of accept loops, HTTP and what watches
}

// New prepares a node: nothing is started yet.
func New(o Options) (*Node, error) {
	n := &Node{cfg: o.Config, version: o.Version, out: o.Out, err: o.Err, load: o.Load, hangup: o.Hangup, table: table(), assemble: realParts(), alone: make(chan struct{})}
	var err error
	if n.base, err = newLogger(o.Err, n.cfg.LogFormat, n.cfg.LogLevel); err != nil {
		return nil, err
	}
	n.log = n.base.With().Str("node", n.cfg.Node).Logger()
	for _, v := range o.Misspelled {
		n.log.Warn().Str("variable", v.Name).Str("meant", v.Meant).Msg("no setting reads this variable of the environment: is it misspelled?")
	}
	n.metrics, n.registry = newMetrics(n.cfg.Node, n.version)
	if n.auth, err = auth.New(auth.Options{Users: n.cfg.Users, Anonymous: auth.Policy(n.cfg.Anonymous), Guest: n.cfg.AnonymousUser, Logins: n.cfg.MaxLogins}); err != nil {
		return nil, err
	}
	if n.rules, err = auth.NewRules(n.cfg.Rules); err != nil {
		return nil, err
	}
	n.conns = newConns(n.cfg.MaxConnections, n.cfg.MaxAddressConnections, n.cfg.MaxUserConnections)
	if err := n.openEntrance(); err != nil {
		return nil, err
	}
	if err := n.openClusterTLS(); err != nil {
		return nil, err
	}
	n.traces = &protocols.Traces{}
	n.disk = newDisk(n.cfg, n.metrics, n.log)
	cluster := ""
	if n.cfg.Clustered() {
		cluster = n.cfg.ClusterName
	}
	n.status = newStatus(cluster, n.cfg.Node, n.version, n.conns, n.disk)
	return n, nil
}

// Run serves until ctx ends or the node cannot go on, then drains. It returns
// nil after an orderly end. It is called once.
//
// The story of a start: the folder and the ports are tried, so that mistakes show
// at once; HTTP answers, so that others can watch; then cluster and engine; when
// every shard has a leader and nothing waits to be imported, the listeners open
// and the ready line is written.
func (n *Node) Run(ctx context.Context) error {
	if n.cfg.Storage.On {
		if err := checkFolder(n.cfg.Data); err != nil {
			return err
		}
	}
	if err := n.tryPorts(ctx); err != nil {
		return err
	}
	// Connections and the status outlive ctx: they end in the drain's order.
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer n.wg.Wait()
	defer end(nil)
	err := n.start(ctx, life)
	if err == nil {
		err = n.serve(ctx)
	}
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(ctx))) {
		err = nil // told to stop, also while starting
	}
	level := zerolog.InfoLevel
	if err != nil && n.ready.IsZero() {
		level = zerolog.DebugLevel // there was no life that ends: the reason is all there is to tell
	}
	n.drain(context.WithoutCancel(ctx), protocols.Draining(whyStops(err)), end, level)
	return err
}

func (n *Node) start(ctx, life context.Context) error {
	n.web = n.newWebServers(life)
	if err := n.openListeners(ctx, life, isEarly); err != nil {
		return err
	}
	n.watch(life)
	var err error
	if n.fabric, err = n.assemble.fabric(ctx, n); err != nil {
		return err
	}
	n.status.attach(n.fabric, nil)
	n.status.setAddresses(func(self *api.Node) { self.Cluster = n.clusterAddr() })
	if n.broker, err = n.assemble.broker(n, n.fabric); err != nil {
		return err
	}
	n.status.attach(n.fabric, n.broker)
	n.wg.Go(func() { n.status.run(life) })
	if err := n.waitReady(ctx); err != nil {
		return err
	}
	if err := n.assemble.imports(ctx, n, n.fabric); err != nil {
		return err
	}
	if err := n.openListeners(ctx, life, func(p config.Listener) bool { return !isEarly(p) }); err != nil {
		return err
	}
	for _, l := range n.listeners {
		fronts, err := n.newFrontends(l.port)
		if err != nil {
			return err
		}
		l.fronts.Store(&fronts)
	}
	n.status.setServing()
	n.ready = time.Now()
	return n.announce()
}

// watch starts what looks at the world around the node until life ends.
func (n *Node) watch(life context.Context) {
	n.wg.Go(func() { n.disk.run(life) })
	hosts := &hosts{conns: n.conns, after: keepIdle + keepCount*keepEvery, metrics: n.metrics, log: n.log}
	n.wg.Go(func() { hosts.run(life) })
	if n.load != nil {
		n.wg.Go(func() { n.follow(life) })
	}
	for _, c := range n.certs {
		n.wg.Go(func() { c.Run(life) })
	}
}

// clusterAddr is where the other nodes are told to connect.
func (n *Node) clusterAddr() string {
	if n.cfg.Advertise != "" {
		return n.cfg.Advertise
	}
	return n.fabric.Addr()
}

// waitReady waits until the cluster and every shard can serve. The cluster may
// need other nodes for that, so the wait has no end of its own.
func (n *Node) waitReady(ctx context.Context) error {
	look := time.NewTicker(readyEvery)
	defer look.Stop()
	pause := waitingFirst
	tell := time.NewTimer(pause)
	defer tell.Stop()
	for {
		why := n.fabric.Ready()
		if why == nil && n.broker.Counts().ready {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-n.fabric.Failed():
			return err
		case <-tell.C:
			n.log.Info().AnErr("reason", why).Msg("waiting for the cluster")
			pause = min(2*pause, waitingEvery)
			tell.Reset(pause)
		case <-look.C:
		}
	}
}

// announce writes the ready line for machines and the hint for people.
func (n *Node) announce() error {
	self := n.status.own()
	line, err := json.Marshal(api.Ready{
		Event: api.EventReady, Node: self.Name, Version: self.Version,
		STOMP: self.STOMP, AMQP: self.AMQP, HTTP: self.HTTP, Cluster: self.Cluster, Listeners: self.Listeners,
	})
	if err != nil {
		return fmt.Errorf("write the ready line: %w", err)
	}
	if _, err := n.out.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write the ready line: %w", err)
	}
	n.log.Info().Str("stomp", self.STOMP).Str("amqp", self.AMQP).Str("http", self.HTTP).Str("cluster", self.Cluster).
		Str("anonymous", string(n.auth.Policy())).Msg("ready")
	if n.cfg.LogFormat == "console" {
		if _, err := io.WriteString(n.err, hint(self)); err != nil {
			return fmt.Errorf("write the hint: %w", err)
		}
	}
	return nil
}

// serve waits for the end.
func (n *Node) serve(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case err := <-n.fabric.Failed():
		return err
	}
}

// drain ends everything that start began, in this order: others are told not to
// send clients here, the ports close, the shards go to other nodes, the
// connections end, the engine and the cluster stop. It never takes much longer
// than drain-timeout. cause is what the connections are ended with; its beginning and end
// are logged at level.
func (n *Node) drain(ctx context.Context, cause error, end context.CancelCauseFunc, level zerolog.Level) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, n.cfg.DrainTimeout)
	defer cancel()
	n.status.setDraining()
	n.log.WithLevel(level).Int("connections", n.conns.count()).Msg("draining")
	n.closeListeners(func(p config.Listener) bool { return !isEarly(p) })
	n.handOver(ctx, cause, end)
	n.closeListeners(isEarly)
	if n.web != nil {
		n.web.shutdown(ctx)
	}
	if n.broker != nil {
		n.broker.Close()
	}
	if n.fabric != nil {
		if err := n.fabric.Close(ctx); err != nil {
			n.log.Warn().Err(err).Msg("cluster not left in good order")
		}
	}
	n.log.WithLevel(level).Dur("after", time.Since(began)).Msg("stopped")
}

// handOver gives the shards to other nodes, then ends the connections with cause. The other
// nodes' clients wait for the first alone. This node's get a while for what is
// under way: a producer that never pauses would keep the engine busy for ever.
func (n *Node) handOver(ctx context.Context, cause error, end context.CancelCauseFunc) {
	if n.broker != nil {
		limited(ctx, handOverFor, func(ctx context.Context) {
			if err := n.broker.HandOver(ctx); err != nil {
				n.log.Warn().Err(err).Msg("shards not handed over in good order")
			}
		})
		n.confirmed(ctx)
	}
	end(cause)
	stop := n.watchAlone(ctx)
	cut := n.conns.drain(ctx)
	stop()
	if cut > 0 {
		n.log.Warn().Int("connections", cut).Msg("connections cut off")
	}
	if n.broker != nil && !n.confirmed(ctx) {
		n.log.Warn().Msg("requests of clients that are gone were not confirmed in time")
	}
}

// watchAlone tells the connections when nobody will confirm anything any more, until stop is
// called.
func (n *Node) watchAlone(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		if n.broker != nil && n.broker.Alone(ctx) {
			close(n.alone)
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

// confirmed waits a while for the confirmation of what clients of this node sent.
func (n *Node) confirmed(ctx context.Context) (all bool) {
	limited(ctx, confirmFor, func(ctx context.Context) { all = n.broker.Drain(ctx) == nil })
	return all
}

// limited calls f with a context that ends after d.
func limited(ctx context.Context, d time.Duration, f func(ctx context.Context)) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	f(ctx)
}
