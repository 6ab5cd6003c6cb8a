package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/internal/linetest"
	"github.com/selvedge-mq/selvedge/internal/metrictest"
)

func newTestServerLog(t *testing.T, log zerolog.Logger) *serverLog {
	t.Helper()
	m, err := newMetrics(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return newServerLog(log, m)
}

func TestServerLog(t *testing.T) {
	type line struct{ Level, Message, Text string }
	for _, c := range []struct {
		name string
		call func(l *serverLog)
		want *line // nil: not logged at info
	}{
		{"notices are details", func(l *serverLog) { l.Noticef("Server is %s", "ready") }, nil},
		{"debug is a detail", func(l *serverLog) { l.Debugf("x") }, nil},
		{"protocol traces are dropped", func(l *serverLog) { l.Tracef("<<- CONNECT {pass}") }, nil},
		{"warnings are warnings", func(l *serverLog) { l.Warnf("disk is %d%% full", 90) }, &line{"warn", "server", "disk is 90% full"}},
		{"errors are errors", func(l *serverLog) { l.Errorf("disk broke") }, &line{"error", "server", "disk broke"}},
		{"routes that are not there yet are details", func(l *serverLog) { l.Errorf("Error trying to connect to route (attempt 1)") }, nil},
		{
			"a refusal by another node is told in our words", func(l *serverLog) { l.Errorf("Route Error 'Authorization Violation'") },
			&line{"warn", "refused by another node: its cluster name or secret differs from ours", "Route Error 'Authorization Violation'"},
		},
		{
			"a second node of the same name is told in our words", func(l *serverLog) { l.Errorf("127.0.0.1:1 - rid:1 - Remote server has a duplicate name: \"n1\"") },
			&line{"error", "another node has this node's name: give each a name of its own", "127.0.0.1:1 - rid:1 - Remote server has a duplicate name: \"n1\""},
		},
		{"a node that looked whether anybody is there is a detail", func(l *serverLog) { l.Errorf("TLS route handshake error: EOF") }, nil},
		{
			"a connection without TLS is a warning, with where it comes from",
			func(l *serverLog) { l.Errorf("127.0.0.1:1 - rid:7 - TLS route handshake error: tls: no") },
			&line{"warn", "no tls with a node", "127.0.0.1:1 - rid:7 - TLS route handshake error: tls: no"},
		},
		{"a rule never raises a level", func(l *serverLog) { l.Noticef("Slow Consumer") }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			c.call(newTestServerLog(t, zerolog.New(&b).Level(zerolog.InfoLevel)))
			var got *line
			if b.Len() > 0 {
				got = &line{}
				if err := json.Unmarshal(b.Bytes(), got); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("log line (-want +got):\n%s", diff)
			}
		})
	}
}

// A scan of the port for other nodes was an error in the log for each connection.
func TestServerLog_StrangersAreToldOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := &linetest.Lines{}
		l := newTestServerLog(t, zerolog.New(lines))
		knock := func(times int, host string) {
			for port := range times {
				l.Errorf("%s:%d - rid:%d - TLS route handshake error: tls: first record does not look like a TLS handshake", host, 1000+port, port)
				l.Errorf("%s:%d - rid:%d - TLS route handshake error: tls: first record does not look like a TLS handshake", host, 2000+port, port)
			}
		}
		want := func(n int, texts ...string) {
			t.Helper()
			if got := lines.Count(texts...); got != n {
				t.Errorf("got %d lines with %q, want %d:\n%s", got, texts, n, lines)
			}
		}
		knock(50, "10.0.0.1")
		knock(3, "[fd00::1]")
		want(1, `"remote":"10.0.0.1:1000"`, `"suppressed":0`)
		want(1, `"remote":"[fd00::1]:1000"`, `"suppressed":0`)
		<-time.After(refusalEvery)
		knock(1, "10.0.0.1")
		want(1, `"remote":"10.0.0.1:1000"`, `"suppressed":99`)
		want(3, "rid:")
		counted := prometheus.NewPedanticRegistry()
		counted.MustRegister(l.metrics.routeErrors)
		if got := metrictest.Value(t, counted, "selvedge_fabric_route_errors_total"); got != 108 {
			t.Errorf("got %v counted, want 108", got)
		}
		l.Errorf("disk broke")
		l.Errorf("disk broke")
		want(2, "disk broke")
	})
}

func TestServerLog_FatalIsKept(t *testing.T) {
	l := newTestServerLog(t, zerolog.Nop())
	if err := l.err(); err != nil {
		t.Errorf("got %v before anything failed", err)
	}
	l.Fatalf("cannot listen on %d", 1)
	l.Fatalf("and more")
	<-l.failed
	if err := l.err(); !errors.Is(err, ErrServer) || !strings.Contains(err.Error(), "cannot listen on 1") {
		t.Errorf("got %v, want the first message", err)
	}
}

// The server goes on after an error that ends its writing, and says so in its log
// alone.
func TestServerLog_WriteErrorIsKept(t *testing.T) {
	for _, c := range []struct {
		text string
		kept bool
	}{
		{"Filestore [S0] Critical write error: no space left on device", true},
		{"RAFT [abc - S-R3F] Critical write error: input/output error", true},
		{"JetStream stream 'SELVEDGE > S0' critical write error: input/output error", true},
		{"JetStream out of resources, will be DISABLED", true},
		{"File system permission denied while writing, disabling JetStream", true},
		{"Error trying to connect to route (attempt 1)", false},
	} {
		t.Run(c.text, func(t *testing.T) {
			l := newTestServerLog(t, zerolog.Nop())
			l.Errorf("%s", c.text)
			if err := l.err(); errors.Is(err, ErrStorage) != c.kept {
				t.Errorf("got %v, want it kept: %v", err, c.kept)
			}
		})
	}
}

// The embedded server goes on without a record that it cannot read, and says so in
// its log alone: the node looks at the files of that stream, and of no other.
func TestServerLog_DamageIsDoubted(t *testing.T) {
	n := &Node{logs: []*shardLog{newShardLog(nil, 0), newShardLog(nil, 1), newShardLog(nil, 10)}}
	for _, c := range []struct {
		name, line string
		want       int // index of the log, -1: none
	}{
		{"a block that was dropped in part", "Filestore [S1] indexCacheBuf corrupt record state in 1.blk: dlen -15", 1},
		{"a block that cannot be read", "Filestore [S10] loadBlock error: input/output error", 2},
		{"a record that another node wants", "Error loading message for catchup 'SELVEDGE > S0': malformed or corrupt message in 1.blk", 0},
		{"the entries of a raft group", "Filestore [S-R3F-abc] loadBlock error: input/output error", -1},
		{"something else", "Filestore [S1] WriteFullState took 2s (1 bytes)", -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newTestServerLog(t, zerolog.Nop())
			for range mostDoubts + 1 { // it does not block
				l.Warnf("%s", c.line)
			}
			got := -1
			select {
			case text := <-l.doubts:
				got = n.doubted(text)
			default:
			}
			if got != c.want {
				t.Errorf("got the log %d, want %d", got, c.want)
			}
		})
	}
}

// A node with another secret tries again and again, by several connections at once: each
// try was a line.
func TestServerLog_TheSameRefusalIsToldNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := &linetest.Lines{}
		l := newTestServerLog(t, zerolog.New(lines).Level(zerolog.InfoLevel))
		refused := func(times int, host string) {
			for rid := range times {
				l.Errorf("%s:6222 - rid:%d - Route Error %q", host, rid, refusedError)
			}
		}
		want := func(n int, texts ...string) {
			t.Helper()
			if got := lines.Count(texts...); got != n {
				t.Errorf("got %d lines with %q, want %d:\n%s", got, texts, n, lines)
			}
		}
		refused(12, "10.0.0.1")
		refused(3, "10.0.0.2")
		want(1, "refused by another node", `"remote":"10.0.0.1:6222"`, `"suppressed":0`)
		want(1, "refused by another node", `"remote":"10.0.0.2:6222"`, `"suppressed":0`)
		<-time.After(refusalEvery)
		refused(2, "10.0.0.1")
		want(1, "refused by another node", `"remote":"10.0.0.1:6222"`, `"suppressed":11`)
		want(3, "refused by another node")
	})
}

// Whoever reaches the cluster's port can have its octets logged: a line is ours, names where
// they came from, and comes now and then.
func TestServerLog_StrangersAreToldInOurWords(t *testing.T) {
	for _, c := range []struct{ name, text, remote, says string }{
		{"octets of any kind", `10.0.0.1:4711 - rid:9 - Router parser ERROR, state=0, i=0: proto='"GET / HTTP/1.1\r\nHost: x"...'`, "10.0.0.1:4711", msgStranger},
		{"over IPv6", `[::1]:4711 - rid:9 - Router parser ERROR, state=0, i=0: proto='"CONNECTED"...'`, "[::1]:4711", msgStranger},
		{"STOMP", "10.0.0.1:4711 - rid:9 - invalid character 'a' looking for beginning of value", "10.0.0.1:4711", msgStranger},
		{"a client of NATS", "10.0.0.1:4711 - rid:9 - attempted to connect to route port", "10.0.0.1:4711", msgStranger},
		{"in the clear where TLS is spoken", "10.0.0.1:4711 - rid:9 - TLS route handshake error: tls: first record does not look like a TLS handshake", "10.0.0.1:4711", msgTLSDiffers},
	} {
		t.Run(c.name, func(t *testing.T) {
			lines := &linetest.Lines{}
			l := newTestServerLog(t, zerolog.New(lines).Level(zerolog.InfoLevel))
			for range 100 {
				l.Errorf("%s", c.text)
			}
			if got := lines.Count(`"level":"warn"`, c.says, `"remote":"`+c.remote+`"`); got != 1 || lines.Count("") != 1 {
				t.Errorf("got %s, want one warning about %s", lines, c.remote)
			}
		})
	}
}
