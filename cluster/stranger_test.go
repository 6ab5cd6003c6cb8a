package cluster_test

import (
	"io"
	"net"
	"testing"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/cluster"
	"github.com/selvedge-mq/selvedge/cluster/clustertest"
	"github.com/selvedge-mq/selvedge/internal/linetest"
)

// A STOMP client at the cluster port was an error of a parser in the log, without a word of
// what to do; a client of another protocol was nothing at all.
func TestNode_AClientAtTheClusterPort(t *testing.T) {
	t.Parallel()
	lines := &linetest.Lines{}
	k := clustertest.New(t, 2, func(_ int, o *cluster.Options) { o.Log = zerolog.New(lines).Level(zerolog.InfoLevel) })
	k.StartNode(0)
	for name, octets := range map[string]string{
		"STOMP": "CONNECT\naccept-version:1.2\nhost:x\n\n\x00",
		"HTTP":  "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"AMQP":  "AMQP\x00\x01\x00\x00",
	} {
		before := lines.Count("no node of Selvedge", `"remote":"127.0.0.1:`)
		k.Wait("a line about "+name, func() bool {
			nc, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", k.Options(0).Listen)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if _, err := io.WriteString(nc, octets); err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, nc) // to the end, in whatever way
			return lines.Count("no node of Selvedge", `"remote":"127.0.0.1:`) > before
		})
	}
	if got := lines.Count(`"level":"error"`); got > 0 {
		t.Errorf("got %d errors, want a warning now and then:\n%s", got, lines)
	}
}

// A node that is refused for its secret is told as that, and as nothing else.
func TestNode_ARefusedNodeIsNoStranger(t *testing.T) {
	t.Parallel()
	lines := &linetest.Lines{}
	k := clustertest.New(t, 2, func(i int, o *cluster.Options) {
		if i == 0 {
			o.Log = zerolog.New(lines).Level(zerolog.InfoLevel)
		} else {
			o.Secret = "another secret"
		}
	})
	k.StartNode(0)
	k.StartNode(1)
	k.Wait("some refusals", func() bool { return lines.Count("refused a node", "its secret differs from ours") > 2 })
	if got := lines.Count("no node of Selvedge"); got > 0 {
		t.Errorf("got %d lines about strangers, want none:\n%s", got, lines)
	}
}
