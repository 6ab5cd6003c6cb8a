package engine

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/selvedge-mq/selvedge/routing"
)

// results is a Completer that keeps what it is told.
type results []routing.Result

func (r *results) Complete(rs []routing.Result) { *r = append(*r, rs...) }

// A commit that came while the node was closing was put into a box that nobody looked
// into any more: its client never heard of it.
func TestCommitter_ACommitAfterTheEndIsAnswered(t *testing.T) {
	e := &Engine{}
	e.metrics = newMetrics(e, prometheus.NewRegistry())
	k := newCommitter(e)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	k.run(ctx)
	var got results
	k.begin(map[int]*txPart{0: {}, 1: {}}, nil, &got, 7)
	if len(got) != 1 || got[0].Token != 7 || routing.CodeOf(got[0].Err) != routing.CodeClosed {
		t.Errorf("got %+v, want the answer that the node is closed", got)
	}
}
