package shard

import (
	"testing"
	"time"
)

// Messages that the cleaner moved are replayed after younger ones. Looking for the
// place of each from the end would take minutes here; a busy machine does not.
func TestReplay_OfRewrittenMessagesIsNotQuadratic(t *testing.T) {
	const n = 200_000
	l := lead(t, Options{}, nil)
	l.s.OpenLane(LaneID{Session: 1, Lane: 2}, "n1", 1)
	sendRange(l, 1, n, 0)
	l.turn()
	moved := len(l.log)
	sendRange(l, n+1, n+1, 0)
	l.turn()
	for i := range moved {
		if err := l.s.Rewrite(uint64(i+1), l.log[i]); err != nil {
			t.Fatal(err)
		}
		l.turn()
	}
	start := time.Now()
	s := replay(t, Options{}, uint64(moved+1), l.log[moved:])
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("got a replay of %v, want far less than a second", took)
	}
	if s.Live() != n+1 {
		t.Fatalf("got %d live, want %d", s.Live(), n+1)
	}
}
