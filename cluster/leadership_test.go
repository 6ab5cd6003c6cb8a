package cluster

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/selvedge-mq/selvedge/routing/engine"
)

// A leadership that ends and comes back between two looks is told as what it is.
func TestLeadership_EveryChangeIsTold(t *testing.T) {
	m, err := newMetrics(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	l := newLeadership(2, m)
	for _, look := range []struct {
		shard   int
		leads   bool
		term    uint64
		changed bool
	}{
		{0, false, 0, false},
		{0, true, 3, true},
		{0, true, 3, false},
		{1, true, 3, true},
		{0, true, 5, true}, // another one led in term 4
		{0, false, 0, true},
		{0, true, 5, true}, // the same leadership, whose subject was not listened to
	} {
		if got := l.set(look.shard, look.leads, look.term); got != look.changed {
			t.Errorf("%+v: got changed %v", look, got)
		}
	}
	begin, end := engine.Leadership{Leads: true}, engine.Leadership{}
	want := []engine.Leadership{begin, {Shard: 1, Leads: true}, end, begin, end, begin}
	if diff := cmp.Diff(want, l.changes.Take(nil)); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}
