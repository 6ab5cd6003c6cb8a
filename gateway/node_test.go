package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selvedge-mq/selvedge/gateway/api"
	"github.com/selvedge-mq/selvedge/gateway/config"
	"github.com/selvedge-mq/selvedge/internal/linetest"
	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/routing"
)

// rig is a node with a fake cluster, engine and protocol.
type rig struct {
	node   *Node
	fabric *fakeFabric
	broker *fakeBroker
	out    *io.PipeReader // the ready line
	log    *linetest.Lines
	stop   context.CancelFunc
	ended  chan error
}

func newRig(t *testing.T, c *config.Config) *rig {
	t.Helper()
	f := newFakeFabric()
	r := &rig{
		fabric: f, broker: &fakeBroker{diary: &f.diary, counts: counts{ready: true, led: []int{0}}},
		log: &linetest.Lines{}, ended: make(chan error, 1),
	}
	out, in := io.Pipe()
	r.out = out
	n, err := New(Options{Config: c, Version: "1.0", Out: in, Err: r.log})
	if err != nil {
		t.Fatal(err)
	}
	n.table = []protocol{{
		name: "stomp",
		open: func(*config.Config, config.Listener, protocols.Env) (protocols.Frontend, error) {
			return &fakeFront{diary: &f.diary}, nil
		},
		codec: func(routing.Codecs) {},
	}}
	n.assemble = assembly{
		fabric:  func(context.Context, *Node) (fabric, error) { return f, nil },
		broker:  func(*Node, fabric) (broker, error) { return r.broker, nil },
		imports: func(context.Context, *Node, fabric) error { return nil },
	}
	r.node = n
	return r
}

func (r *rig) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { r.ended <- r.node.Run(ctx) }()
}

// ready waits for the ready line.
func (r *rig) ready(t *testing.T) api.Ready {
	t.Helper()
	line := make([]byte, 4096)
	n, err := r.out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	var got api.Ready
	if err := json.Unmarshal(line[:n], &got); err != nil || line[n-1] != '\n' {
		t.Fatalf("got %q (%v), want one line of JSON", line[:n], err)
	}
	return got
}

func get(t *testing.T, addr, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{DisableKeepAlives: true}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// listen runs the node until the end of the test and returns the addresses of its
// listeners by their names.
func (r *rig) listen(t *testing.T) map[string]string {
	t.Helper()
	r.run(t)
	addrs := make(map[string]string)
	for _, l := range r.ready(t).Listeners {
		addrs[l.Name] = l.Address
	}
	t.Cleanup(func() {
		r.stop()
		if err := <-r.ended; err != nil {
			t.Errorf("got %v, want an orderly end", err)
		}
	})
	return addrs
}

func TestNodeServesAndDrains(t *testing.T) {
	r := newRig(t, newTestConfig(t, nil))
	drained := make(chan struct{})
	var while struct {
		code int
		body string
	}
	var line api.Ready
	first := true
	r.broker.drain = func(context.Context) error { // before the connections end, and after
		if !first {
			return nil
		}
		first = false
		defer close(drained)
		while.code, while.body = get(t, line.HTTP, "/readyz")                                   //nolint:contextcheck // the test's own
		if nc, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", line.STOMP); err == nil { //nolint:contextcheck // the test's own
			nc.Close()
			t.Error("got a connection while draining, want the port closed")
		}
		return nil
	}
	r.run(t)
	line = r.ready(t)
	want := api.Ready{
		Event: "ready", Node: "n1", Version: "1.0", STOMP: line.STOMP, HTTP: line.HTTP, Cluster: "10.0.0.1:6222",
		Listeners: []api.Listener{
			{Name: "http", Protocol: "http", Address: line.HTTP},
			{Name: "stomp", Protocol: "stomp", Address: line.STOMP},
		},
	}
	if d := cmp.Diff(want, line); d != "" || strings.HasSuffix(line.STOMP, ":0") {
		t.Errorf("got (+), want (-):\n%s", d)
	}
	if got := knock(t, line.STOMP, "a"); got != "a" {
		t.Errorf("got %q of the STOMP port, want an echo", got)
	}
	if code, body := get(t, line.HTTP, "/readyz"); code != 200 {
		t.Errorf("got %d %s, want 200", code, body)
	}
	if _, body := get(t, line.HTTP, "/api/v1/nodes"); !strings.Contains(body, `"connections":1`) {
		t.Errorf("got %s, want one connection", body)
	}
	r.stop()
	if err := <-r.ended; err != nil {
		t.Errorf("got %v, want an orderly end", err)
	}
	<-drained
	if while.code != 503 || !strings.Contains(while.body, "draining") {
		t.Errorf("got %d %s while draining, want 503", while.code, while.body)
	}
	story := []string{
		"shards handed over", "engine drained", "connection ended: the node is draining", "engine drained",
		"engine closed", "cluster closed",
	}
	if d := cmp.Diff(story, r.fabric.diary.list()); d != "" {
		t.Errorf("got (+), want (-):\n%s", d)
	}
	if want := "selvedge send orders hello --server " + line.STOMP; !strings.Contains(r.log.String(), want) {
		t.Errorf("got %s, want the hint %s", r.log, want)
	}
	if !strings.Contains(r.fabric.published(), `"state":"draining"`) {
		t.Errorf("got %s published last, want draining", r.fabric.published())
	}
}

// TestBusyProducerDoesNotHoldTheDrain: an engine that is never idle, since its
// clients go on sending, must not keep their connections from ending.
func TestBusyProducerDoesNotHoldTheDrain(t *testing.T) {
	r := newRig(t, newTestConfig(t, nil))
	r.broker.drain = func(ctx context.Context) error {
		for r.node.conns.count() > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Millisecond):
			}
		}
		return nil
	}
	r.run(t)
	line := r.ready(t)
	if got := knock(t, line.STOMP, "a"); got != "a" {
		t.Fatalf("got %q of the STOMP port, want an echo", got)
	}
	began := time.Now()
	r.stop()
	if err := <-r.ended; err != nil {
		t.Errorf("got %v, want an orderly end", err)
	}
	if took := time.Since(began); took > r.node.cfg.DrainTimeout/2 {
		t.Errorf("got a drain of %v, want about %v", took, confirmFor)
	}
}

// stayingFront is a front-end whose connections end when nothing will be confirmed any more.
type stayingFront struct {
	fakeFront
	alone <-chan struct{}
}

func (f *stayingFront) Serve(ctx context.Context, nc net.Conn) error {
	defer nc.Close()
	if _, err := io.CopyN(nc, nc, 1); err != nil {
		return err
	}
	<-ctx.Done()
	select {
	case <-f.alone:
	case <-time.After(confirmFor): // as they do without it
	}
	return context.Cause(ctx)
}

// Connections of the last node that stopped waited for confirmations that nobody could give.
func TestNodeThatIsAloneKeepsNoConnections(t *testing.T) {
	for _, alone := range []bool{true, false} {
		t.Run(fmt.Sprintf("alone %v", alone), func(t *testing.T) {
			r := newRig(t, newTestConfig(t, nil))
			r.broker.alone = alone
			r.node.table[0].open = func(_ *config.Config, _ config.Listener, env protocols.Env) (protocols.Frontend, error) {
				return &stayingFront{alone: env.Alone}, nil
			}
			r.run(t)
			if line := r.ready(t); knock(t, line.STOMP, "a") != "a" {
				t.Fatal("got no echo of the STOMP port")
			}
			began := time.Now()
			r.stop()
			if err := <-r.ended; err != nil {
				t.Errorf("got %v, want an orderly end", err)
			}
			if took := time.Since(began); (took < confirmFor) != alone {
				t.Errorf("got a drain of %v, want less than %v: %v", took, confirmFor, alone)
			}
		})
	}
}

func TestNodeWaitsForTheCluster(t *testing.T) {
	c := newTestConfig(t, nil)
	r := newRig(t, c)
	asked := make(chan struct{})
	r.fabric.missing = errors.New("no leader")
	r.node.assemble.broker = func(*Node, fabric) (broker, error) {
		close(asked)
		return r.broker, nil
	}
	r.run(t)
	<-asked
	addr := r.node.status.own().HTTP
	if code, body := get(t, addr, "/readyz"); code != 503 || !strings.Contains(body, "the node is starting") {
		t.Errorf("got %d %s, want 503", code, body)
	}
	if code, _ := get(t, addr, "/livez"); code != 200 {
		t.Errorf("got %d, want 200", code)
	}
	r.fabric.set(func(f *fakeFabric) { f.missing = nil })
	r.ready(t)
	r.stop()
	if err := <-r.ended; err != nil {
		t.Errorf("got %v, want an orderly end", err)
	}
}

// A node that waited for its seeds was silent for ten seconds.
func TestWaitingIsToldNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newTestConfig(t, nil))
		r.fabric.missing = errors.New("connected to no other node")
		r.node.fabric, r.node.broker = r.fabric, r.broker
		ended, began := make(chan error, 1), time.Now()
		go func() { ended <- r.node.waitReady(t.Context()) }()
		for _, w := range []struct {
			after time.Duration
			lines int
		}{{time.Second, 0}, {5 * time.Second, 1}, {10 * time.Second, 2}, {time.Minute, 7}} {
			<-time.After(w.after - time.Since(began))
			if got := r.log.Count("waiting for the cluster", "connected to no other node"); got != w.lines {
				t.Errorf("after %v: got %d lines, want %d:\n%s", w.after, got, w.lines, r.log)
			}
		}
		r.fabric.set(func(f *fakeFabric) { f.missing = nil })
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A signal is the cause of the end of its context, and what was waiting says that the
// context was canceled: a stop in the middle of a start ended with an error.
func TestNodeStopsWhileItStarts(t *testing.T) {
	signaled := errors.New("terminated")
	for _, c := range []struct {
		name string
		says func(ctx context.Context) error
		want bool
	}{
		{"what waited says that it was canceled", func(ctx context.Context) error { return fmt.Errorf("meet the others: %w", ctx.Err()) }, false},
		{"it says why", func(ctx context.Context) error { return fmt.Errorf("meet the others: %w", context.Cause(ctx)) }, false},
		{"another error", func(context.Context) error { return errors.New("the folder is damaged") }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, newTestConfig(t, nil))
			ctx, stop := context.WithCancelCause(t.Context())
			r.node.assemble.fabric = func(ctx context.Context, _ *Node) (fabric, error) {
				stop(signaled)
				return nil, c.says(ctx)
			}
			if err := r.node.Run(ctx); (err != nil) != c.want {
				t.Errorf("got %v, want an error: %t", err, c.want)
			}
		})
	}
}

func TestNodeStopsWhileItWaits(t *testing.T) {
	r := newRig(t, newTestConfig(t, nil))
	asked := make(chan struct{})
	r.broker.counts.ready = false
	r.node.assemble.broker = func(*Node, fabric) (broker, error) {
		close(asked)
		return r.broker, nil
	}
	r.run(t)
	<-asked
	r.stop()
	if err := <-r.ended; err != nil {
		t.Errorf("got %v, want an orderly end", err)
	}
}

func TestNodeEndsWhenTheClusterFails(t *testing.T) {
	r := newRig(t, newTestConfig(t, nil))
	r.run(t)
	r.ready(t)
	broken := errors.New("the disk is broken")
	r.fabric.failed <- broken
	if err := <-r.ended; !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
	r.stop()
}

func TestNodeRefusesToStart(t *testing.T) {
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(c *config.Config)
		broken func(n *Node)
		want   string
	}{
		{
			"a port in use", func(c *config.Config) { c.STOMP = taken.Addr().String() }, nil,
			"stomp: cannot listen on " + taken.Addr().String() + ": bind: address already in use (choose another address by --stomp)",
		},
		{
			"an HTTP port in use", func(c *config.Config) { c.HTTP = taken.Addr().String() }, nil,
			"http: cannot listen on " + taken.Addr().String() + ": bind: address already in use (choose another address by --http)",
		},
		{
			"a data folder that is a file", func(c *config.Config) { c.Data = file }, nil,
			"data: the folder cannot be made: mkdir " + file + ": not a directory (choose another folder by --data)",
		},
		{
			"a cluster that does not open", nil, func(n *Node) {
				n.assemble.fabric = func(context.Context, *Node) (fabric, error) {
					return nil, errors.New("the folder is of another cluster")
				}
			}, "the folder is of another cluster",
		},
		{
			"an engine that does not start", nil, func(n *Node) {
				n.assemble.broker = func(*Node, fabric) (broker, error) { return nil, errors.New("no engine") }
			}, "no engine",
		},
		{
			"an import that fails", nil, func(n *Node) {
				n.assemble.imports = func(context.Context, *Node, fabric) error { return errors.New("import: no quorum") }
			}, "import: no quorum",
		},
		{
			"a front-end that does not start", nil, func(n *Node) {
				n.table[0].open = func(*config.Config, config.Listener, protocols.Env) (protocols.Frontend, error) {
					return nil, errors.New("no codec")
				}
			}, "set up stomp for the listener http: no codec",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, newTestConfig(t, tt.change))
			if tt.broken != nil {
				tt.broken(r.node)
			}
			r.run(t)
			defer r.stop()
			if err := <-r.ended; err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			if got := r.log.Count("draining") + r.log.Count("stopped"); got > 0 {
				t.Errorf("got %d lines about an end before the reason is told:\n%s", got, r.log)
			}
		})
	}
}

func TestImportSession(t *testing.T) {
	at := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	one, again := importSession("n1", at), importSession("n1", at.In(time.FixedZone("", 3600)))
	if one != again || one == 0 {
		t.Errorf("got %d and %d for one folder, want one number", one, again)
	}
	if other := importSession("n1", at.Add(1)); other == one {
		t.Errorf("got %d for two folders, want two numbers", one)
	}
}

func TestLog(t *testing.T) {
	var out linetest.Lines
	log, err := newLogger(&out, "json", "info")
	if err != nil {
		t.Fatal(err)
	}
	log.Debug().Msg("hidden")
	log.Info().Str("k", "v").Msg("shown")
	var line struct{ Level, K, Message, Time string }
	if err := json.Unmarshal([]byte(out.String()), &line); err != nil {
		t.Fatalf("got %q, want one line of JSON: %v", out.String(), err)
	}
	if _, err := time.Parse(time.RFC3339, line.Time); err != nil || line.K != "v" || line.Level != "info" || line.Message != "shown" {
		t.Errorf("got %s, want level, time, field and message", &out)
	}
	var people linetest.Lines
	if log, err = newLogger(&people, "console", "debug"); err != nil {
		t.Fatal(err)
	}
	log.Debug().Str("k", "v").Msg("shown")
	if got := people.String(); !strings.Contains(got, "DBG shown k=v") || strings.Contains(got, "\x1b") {
		t.Errorf("got %q, want a line for people without colors", got)
	}
}

func TestHint(t *testing.T) {
	for _, tt := range []struct {
		name string
		n    api.Node
		want string
	}{
		{"the usual ports need no server", api.Node{STOMP: "127.0.0.1:61613"}, "\n  selvedge send orders hello\n"},
		{"other ports are named", api.Node{STOMP: "[::]:7000"}, "selvedge send orders hello --server 127.0.0.1:7000\n"},
		{"without STOMP it is AMQP", api.Node{AMQP: "127.0.0.1:5672"}, "selvedge send orders hello --protocol amqp\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := hint(tt.n); !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q in it", got, tt.want)
			}
		})
	}
	more := api.Node{STOMP: ":1", Listeners: []api.Listener{{Name: "stomp", Address: ":1"}, {Name: "mux", Address: ":2"}}}
	if got := hint(more); strings.Count(got, " :1\n") != 1 || !strings.Contains(got, "  mux      :2\n") {
		t.Errorf("got %q, want each listener once", got)
	}
	if got := hint(api.Node{HTTP: ":1"}); strings.Contains(got, "Try next") {
		t.Errorf("got %q, want nothing to try without a client port", got)
	}
}
