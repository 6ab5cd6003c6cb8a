package gateway

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/selvedge-mq/selvedge/gateway/auth"
	"github.com/selvedge-mq/selvedge/gateway/config"
	"github.com/selvedge-mq/selvedge/internal/linetest"
	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/routing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// diary records what happens, in order.
type diary struct {
	mu      sync.Mutex
	entries []string
}

func (d *diary) add(entry string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries = append(d.entries, entry)
}

func (d *diary) list() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.entries)
}

// fakeFabric is a cluster whose state the test sets.
type fakeFabric struct {
	diary  diary
	failed chan error

	mu      sync.Mutex
	quorum  bool
	missing error
	members []member
	known   []registered
	retire  func(ctx context.Context, node, by string, tell func(string)) error
	restore func(node, by string) error
	status  []byte
}

func newFakeFabric() *fakeFabric { return &fakeFabric{failed: make(chan error, 1), quorum: true} }

func (f *fakeFabric) set(change func(f *fakeFabric)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fakeFabric) Members() []member {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.members)
}

func (f *fakeFabric) Registered() []registered {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.known)
}

func (f *fakeFabric) Retire(ctx context.Context, node, by string, tell func(string)) error {
	return f.retire(ctx, node, by, tell)
}

func (f *fakeFabric) Restore(_ context.Context, node, by string) error { return f.restore(node, by) }

func (f *fakeFabric) SetStatus(status []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status = status
}

func (f *fakeFabric) published() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return string(f.status)
}

func (f *fakeFabric) Quorum() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.quorum
}

func (f *fakeFabric) Ready() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.missing
}

func (f *fakeFabric) Addr() string                         { return "10.0.0.1:6222" }
func (f *fakeFabric) Stored(led []int) (bytes, lag uint64) { return 4096, uint64(len(led)) }
func (f *fakeFabric) Failed() <-chan error                 { return f.failed }
func (f *fakeFabric) Close(context.Context) error {
	f.diary.add("cluster closed")
	return nil
}

// fakeBroker is an engine whose answers the test sets.
type fakeBroker struct {
	diary *diary
	drain func(ctx context.Context) error
	alone bool

	mu     sync.Mutex
	counts counts
	queues []queueCount
	err    error
}

func (b *fakeBroker) Open(context.Context, routing.SessionOptions) (routing.Session, error) {
	return nil, errors.New("a fake has no sessions")
}

func (b *fakeBroker) set(change func(b *fakeBroker)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(b)
}

func (b *fakeBroker) Queues(context.Context) ([]queueCount, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.queues), b.err
}

func (b *fakeBroker) Counts() counts {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.counts
}

func (b *fakeBroker) HandOver(context.Context) error {
	b.diary.add("shards handed over")
	return nil
}

func (b *fakeBroker) Drain(ctx context.Context) error {
	b.diary.add("engine drained")
	if b.drain != nil {
		return b.drain(ctx)
	}
	return nil
}

func (b *fakeBroker) Alone(ctx context.Context) bool {
	if !b.alone {
		<-ctx.Done()
	}
	return b.alone
}

func (b *fakeBroker) Close() { b.diary.add("engine closed") }

// fakeFront echoes the first byte of each connection, panics if it is 'p', and
// then waits for the end.
type fakeFront struct {
	diary *diary
}

func (f *fakeFront) Name() string { return "stomp" }

func (f *fakeFront) Serve(ctx context.Context, nc net.Conn) error {
	defer nc.Close()
	b := make([]byte, 1)
	if _, err := nc.Read(b); err != nil {
		return err
	}
	if b[0] == 'p' {
		panic("a bug")
	}
	if _, err := nc.Write(b); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer stop()
	_, err := nc.Read(b)
	if cause := context.Cause(ctx); cause != nil && f.diary != nil {
		f.diary.add("connection ended: " + cause.Error())
	}
	return err
}

func newTestConfig(t *testing.T, change func(c *config.Config)) *config.Config {
	t.Helper()
	c, err := config.Load(config.Source{})
	if err != nil {
		t.Fatal(err)
	}
	c.Node, c.Data = "n1", t.TempDir()
	c.STOMP, c.AMQP, c.HTTP = "127.0.0.1:0", "", "127.0.0.1:0"
	if change != nil {
		change(c)
	}
	return c
}

func newTestAuth(t *testing.T, o auth.Options) *auth.Authenticator {
	t.Helper()
	a, err := auth.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// newTestStatus is that of a node whose disk is not watched.
func newTestStatus(t *testing.T, cluster, node string) *status {
	t.Helper()
	m, _ := newMetrics(node, "1.0")
	return newStatus(cluster, node, "1.0", newConns(1, 0, 0), newDisk(&config.Config{}, m, zerolog.Nop()))
}

// newTestListener serves front on a free port until the test ends.
func newTestListener(t *testing.T, front protocols.Frontend, limit int) (addr string, log *linetest.Lines, m *metrics) {
	t.Helper()
	l, log := newListenerOf(t, front, limit)
	ctx, cancel := context.WithCancelCause(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { l.serve(ctx) })
	t.Cleanup(func() {
		if err := l.ln.Close(); err != nil {
			t.Error(err)
		}
		cancel(protocols.ErrDraining)
		wg.Wait()
	})
	return l.ln.Addr().String(), log, l.metrics
}

// newListenerOf opens a free port for front.
func newListenerOf(t *testing.T, front protocols.Frontend, limit int) (*listener, *linetest.Lines) {
	t.Helper()
	port := config.Listener{Name: "stomp", Protocol: config.ProtocolSTOMP, Address: "127.0.0.1:0"}
	ln, err := listen(t.Context(), port)
	if err != nil {
		t.Fatal(err)
	}
	m, _ := newMetrics("n1", "test")
	log := &linetest.Lines{}
	l := &listener{
		port: port, ln: ln, entrance: &entrance{patience: time.Minute}, conns: newConns(limit, 0, 0), metrics: m, log: zerolog.New(log),
	}
	l.fronts.Store(&frontSet{"stomp": front})
	return l, log
}
