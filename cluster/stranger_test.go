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
// what to do.
func TestNode_AClientAtTheClusterPort(t *testing.T) {
	t.Parallel()
	lines := &linetest.Lines{}
	k := clustertest.New(t, 2, func(_ int, o *cluster.Options) { o.Log = zerolog.New(lines).Level(zerolog.InfoLevel) })
	k.StartNode(0)
	for range 5 {
		nc, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", k.Options(0).Listen)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(nc, "CONNECT\naccept-version:1.2\nhost:x\n\n\x00"); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, nc) // to the end, in whatever way
		nc.Close()
	}
	k.Wait("a line about it", func() bool { return lines.Count("no node of Selvedge", `"remote":"127.0.0.1:`) > 0 })
	if got := lines.Count(`"level":"error"`); got > 0 {
		t.Errorf("got %d errors, want a warning now and then:\n%s", got, lines)
	}
}
