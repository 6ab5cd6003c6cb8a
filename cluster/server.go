package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

// Names inside the embedded server.
const (
	account       = "SELVEDGE"
	systemAccount = "SYS"
	internalUser  = "selvedge"
	systemUser    = "selvedge-system"
)

// Limits of the embedded server.
const (
	// maxPayload is the largest record: the server discourages more.
	maxPayload = 8 << 20
	// maxPending is what the server keeps for a connection of ours that does not
	// read, before it cuts it.
	maxPending = 256 << 20
	// unlimitedStore is more than any disk has, and far from an overflow.
	unlimitedStore = 1 << 60
	// routePool is the number of connections between two nodes.
	routePool = 3
	// startTimeout bounds the start of a server; recovery of large logs takes time.
	startTimeout = 5 * time.Minute
	// tlsTimeout bounds the handshake of a route.
	tlsTimeout = 5 * time.Second
	// readyStep is the time between two looks whether the start has failed.
	readyStep = 100 * time.Millisecond
	// defaultPort is the port of a seed without one.
	defaultPort = "6222"
)

// embedded is a running server and what is needed to connect to it.
type embedded struct {
	srv     *server.Server
	log     *serverLog
	metrics *metrics
	secret  string
	seeds   int // how many nodes the seeds stand for, this one among them
}

// startServer starts the embedded server for a node and waits until it accepts
// connections; it does not wait for the cluster.
func startServer(ctx context.Context, o Options, m *metrics, lookup resolver) (*embedded, error) {
	if o.clustered() {
		if err := setTimers(o.Election); err != nil {
			return nil, err
		}
	}
	e := &embedded{log: newServerLog(o.Log, m), metrics: m, secret: randomSecret()}
	so, err := e.options(ctx, o, lookup)
	if err != nil {
		return nil, err
	}
	if e.srv, err = server.NewServer(so); err != nil {
		return nil, fmt.Errorf("cluster: set up the embedded server: %w", err)
	}
	e.srv.SetLoggerV2(e.log, o.Log.GetLevel() <= zerolog.TraceLevel, false, false)
	started := make(chan struct{})
	go func() {
		defer close(started)
		e.srv.Start()
	}()
	select {
	case <-started:
	case <-e.log.failed:
	case <-ctx.Done():
	}
	err = e.awaitReady(ctx)
	if err != nil {
		e.stop()
		<-started
		return nil, err
	}
	return e, nil
}

// awaitReady waits until the server accepts connections.
func (e *embedded) awaitReady(ctx context.Context) error {
	began := time.Now()
	for {
		if err := errors.Join(e.log.err(), ctx.Err()); err != nil {
			return err // a listener that cannot listen is told in the log
		}
		if e.srv.ReadyForConnections(readyStep) {
			return e.log.err()
		}
		if time.Since(began) > startTimeout {
			return fmt.Errorf("%w: it is not ready after %v", ErrServer, startTimeout)
		}
	}
}

// stop ends the server and waits for it.
func (e *embedded) stop() {
	e.srv.Shutdown()
	e.srv.WaitForShutdown()
}

// options translates a node's options into the server's.
func (e *embedded) options(ctx context.Context, o Options, lookup resolver) (*server.Options, error) {
	so := &server.Options{}
	accounts := fmt.Sprintf(`accounts {
		%s { jetstream: enabled, users: [ { user: %q, password: %q } ] }
		%s { users: [ { user: %q, password: %q } ] }
	}
	system_account: %s`,
		account, internalUser, e.secret, systemAccount, systemUser, e.secret, systemAccount)
	if err := so.ProcessConfigString(accounts); err != nil {
		return nil, fmt.Errorf("cluster: set up the embedded server's accounts: %w", err)
	}
	so.ServerName = o.Node
	so.NoSigs = true
	so.DisableJetStreamBanner = true
	so.MaxPayload = maxPayload
	so.MaxPending = maxPending
	so.DontListen = !o.clustered()
	so.Host = "127.0.0.1"
	so.Port = server.RANDOM_PORT
	if !o.FrontOnly {
		so.JetStream = true
		so.StoreDir = filepath.Join(o.Dir, storeName)
		so.SyncAlways = o.SyncInterval == 0
		so.SyncInterval = o.SyncInterval
		so.JetStreamLimits.DefaultMaxConsumers = -1
		if o.DiskWatched {
			so.JetStreamMaxStore = unlimitedStore
		}
	}
	if !o.clustered() {
		return so, nil
	}
	return so, e.clusterOptions(ctx, so, o, lookup)
}

// clusterOptions sets what makes the server a node of a cluster. The server
// listens for clients too, on loopback with the random secret: without a
// listener it never starts its routes.
func (e *embedded) clusterOptions(ctx context.Context, so *server.Options, o Options, lookup resolver) error {
	host, portText, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return wrong("Listen", "%w", err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return wrong("Listen", "%q has no port number: the other nodes must know it", o.Listen)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	auth := &routeAuth{user: o.ClusterName, password: routePassword(o.Secret, o.ClusterName), log: o.Log, metrics: e.metrics, judged: e.log.judge}
	so.Cluster = server.ClusterOpts{
		Name:         o.ClusterName,
		Host:         host,
		Port:         int(port),
		Username:     auth.user,
		Password:     auth.password,
		Advertise:    o.Advertise,
		NoAdvertise:  true,
		PoolSize:     routePool,
		Compression:  server.CompressionOpts{Mode: server.CompressionOff},
		PingInterval: max(4*o.Election, 2*time.Second),
		MaxPingsOut:  2,
	}
	if o.TLS != nil {
		so.Cluster.TLSConfig, so.Cluster.TLSTimeout = o.TLS, tlsTimeout.Seconds()
	}
	so.CustomRouterAuthentication = auth
	so.Routes, err = routes(ctx, o, auth, lookup)
	e.seeds = len(so.Routes) + 1
	return err
}

// routes returns where to dial: all other seeds. Their number is also how many
// nodes must have met before a new cluster elects its first leader, two at least:
// the server wants every one that it expects, since all their logs are empty. So
// one seed may be missing when a cluster forms, which is a majority of three or
// four. Fewer would not be safe with more: two halves could each form a cluster.
func routes(ctx context.Context, o Options, auth *routeAuth, lookup resolver) ([]*url.URL, error) {
	addrs, err := seedAddrs(ctx, o.Seeds, o.own(), lookup)
	if err != nil {
		return nil, err
	}
	var urls []*url.URL
	for _, a := range addrs {
		urls = append(urls, auth.routeURL(a))
	}
	return urls, nil
}

// connect opens a connection of this process to its server. It lives as long as
// the server.
func (e *embedded) connect(name string, options ...nats.Option) (*nats.Conn, error) {
	return e.connectAs(internalUser, name, options...)
}

// connectAs is connect for the user of an account.
func (e *embedded) connectAs(user, name string, options ...nats.Option) (*nats.Conn, error) {
	nc, err := nats.Connect("nats://fabric", append([]nats.Option{
		nats.InProcessServer(e.srv),
		nats.Name(name),
		nats.UserInfo(user, e.secret),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(20 * time.Millisecond),
		nats.ReconnectJitter(0, 0),
		nats.ReconnectBufSize(-1), // what could not be sent is known to be lost
		nats.IgnoreDiscoveredServers(),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			e.log.log.Warn().Err(err).Str("connection", name).Msg("connection of the node itself")
		}),
	}, options...)...)
	if err != nil {
		return nil, fmt.Errorf("cluster: connect to the embedded server: %w", err)
	}
	return nc, nil
}
