package integration

import (
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/selvedge-mq/selvedge/gateway/certs/certstest"
	"github.com/selvedge-mq/selvedge/integration/harness"
	"github.com/selvedge-mq/selvedge/integration/interop/stompscript"
)

// certificates writes a certificate of this machine, its key and who issued it.
func certificates(t *testing.T) (cert, key, ca string) {
	t.Helper()
	a := certstest.New(t)
	return a.Write(t.TempDir(), a.Issue("node"))
}

// tryFeatures runs a client through all that it can in a version.
func tryFeatures(t *testing.T, c *stompscript.Client, w stompscript.Way) {
	t.Helper()
	w.DeadLetters = deadLetters
	failed, err := c.Run(bounded(t), w, c.Features(w.Version))
	if err != nil {
		t.Fatal(err)
	}
	for feature, why := range failed {
		t.Errorf("%s: %s", feature, why)
	}
}

// The STOMP clients of other projects, over every version that they speak.
func TestForeignSTOMPClients(t *testing.T) {
	beside(t)
	n := harness.Start(t, harness.Options{})
	for _, c := range stompscript.Clients() {
		t.Run(c.Name, func(t *testing.T) {
			for _, version := range c.Versions {
				t.Run(version, func(t *testing.T) {
					w := stompscript.Way{Addrs: []string{n.STOMP}, Version: version}
					if why := c.Missing(t.Context(), w); why != "" {
						t.Skip(why)
					}
					tryFeatures(t, &c, w)
				})
			}
		})
	}
}

// The same by TLS, with the newest version that each speaks: a node whose
// certificate the client verifies.
func TestForeignSTOMPClientsOverTLS(t *testing.T) {
	beside(t)
	cert, key, ca := certificates(t)
	addr := harness.Addr(t)
	harness.Start(t, harness.Options{Args: []string{"--stomp-tls", addr, "--tls-cert", cert, "--tls-key", key}})
	for _, c := range stompscript.Clients() {
		if c.Clear {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			w := stompscript.Way{Addrs: []string{addr}, Version: c.Versions[len(c.Versions)-1], CA: ca}
			if why := c.Missing(t.Context(), w); why != "" {
				t.Skip(why)
			}
			tryFeatures(t, &c, w)
		})
	}
}

// The same by WebSocket, in the clear and by TLS: the frames and the WebSockets
// are of two other projects.
func TestForeignSTOMPClientsOverWebSocket(t *testing.T) {
	beside(t)
	cert, key, ca := certificates(t)
	secure, own := harness.Addr(t), harness.Addr(t)
	n := harness.Start(t, harness.Options{Args: []string{"--http-tls", secure, "--stomp-ws", own, "--tls-cert", cert, "--tls-key", key}})
	for _, c := range stompscript.Clients() {
		if !c.SpeaksWebSocket() {
			continue
		}
		for _, way := range []stompscript.Way{
			{Web: "ws://" + n.HTTP + "/stomp", Version: "1.2"},
			{Web: "ws://" + own + "/any/path", Version: "1.1"},
			{Web: "wss://" + secure + "/stomp", CA: ca, Version: "1.0"},
		} {
			t.Run(c.Name+" "+way.Version, func(t *testing.T) {
				if why := c.Missing(t.Context(), way); why != "" {
					t.Skip(why)
				}
				tryFeatures(t, &c, way)
			})
		}
	}
}

// stepsBefore is how many steps each client has taken when its node is killed.
const stepsBefore = 5

// pilgrim is a client under way: it counts its steps, and where it took the last.
type pilgrim struct {
	stompscript.Client

	version string
	started chan struct{} // closed after stepsBefore, or at the end
	begin   sync.Once     // closes it
	err     error

	mu    sync.Mutex
	steps int
	port  string
}

func (p *pilgrim) step(port string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.port = port
	if p.steps++; p.steps == stepsBefore {
		p.begin.Do(func() { close(p.started) })
	}
}

// Each client that other projects made goes on at another node when its own is
// killed, by its own means, over every version that it speaks: nothing that was
// confirmed is lost, and nothing comes twice without a mark.
func TestFaultForeignSTOMPClientsGoOn(t *testing.T) {
	beside(t)
	c := harness.StartCluster(t, 3)
	victim := c.Nodes[0]
	addrs := []string{victim.STOMP, c.Nodes[1].STOMP, c.Nodes[2].STOMP}
	var all []*pilgrim
	for _, client := range stompscript.Clients() {
		if !client.Returns {
			continue
		}
		if why := client.Missing(t.Context(), stompscript.Way{}); why != "" {
			t.Run(client.Name, func(t *testing.T) { t.Skip(why) })
			continue
		}
		for _, version := range client.Versions {
			all = append(all, &pilgrim{Client: client, version: version, started: make(chan struct{})})
		}
	}
	ctx := bounded(t)
	var under sync.WaitGroup
	for _, p := range all {
		under.Go(func() {
			p.err = p.Walk(ctx, stompscript.Way{Addrs: addrs, Version: p.version}, p.step)
			p.begin.Do(func() { close(p.started) })
		})
	}
	for _, p := range all {
		<-p.started
	}
	victim.Kill()
	under.Wait()
	_, port, err := net.SplitHostPort(victim.STOMP)
	ok(t, "the victim's port", err)
	for _, p := range all {
		t.Run(p.Name+" "+p.version, func(t *testing.T) {
			if p.err != nil {
				t.Errorf("after %d steps: %v", p.steps, p.err)
			}
			if p.port == port {
				t.Errorf("got the last step at %s, want another node", p.port)
			}
		})
	}
	harness.Until(t, "queues without messages", func() (string, bool) {
		queues, err := harness.LookQueues(c.Nodes[1].HTTP)
		left := ""
		for _, q := range queues {
			if q.Depth > 0 {
				left += fmt.Sprintf("%+v ", q)
			}
		}
		return fmt.Sprintf("%s, error %v", left, err), err == nil && left == ""
	})
}
