package cluster

import (
	"testing"
	"time"
)

// On a machine that had no time for its nodes the leaders changed every few seconds, and
// each time the nodes gave away what one of them then had too much of: one more change.
func TestSpread_WaitsForCalm(t *testing.T) {
	type look struct {
		after   time.Duration // since the look before
		leaders [2]string
		want    bool
	}
	for _, c := range []struct {
		name  string
		looks []look
	}{
		{"the first leaders are no change", []look{{0, [2]string{"", ""}, true}, {spreadEvery, [2]string{"a", ""}, true}, {spreadEvery, [2]string{"a", "a"}, true}}},
		{"an election is waited out", []look{
			{0, [2]string{"a", "b"}, true},
			{spreadEvery, [2]string{"a", "a"}, false},
			{spreadCalm - 1, [2]string{"a", "a"}, false},
			{1, [2]string{"a", "a"}, true},
		}},
		{"a shard that nobody leads yet is with its last leader", []look{
			{0, [2]string{"a", "b"}, true}, {spreadEvery, [2]string{"", "b"}, true}, {spreadEvery, [2]string{"b", "b"}, false},
		}},
		{"each change begins the wait anew", []look{
			{0, [2]string{"a", "b"}, true},
			{spreadEvery, [2]string{"b", "b"}, false},
			{spreadCalm - 1, [2]string{"b", "a"}, false},
			{spreadCalm - 1, [2]string{"b", "a"}, false},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			seen, now := calm{leaders: make([]string, 2)}, time.Now()
			for i, l := range c.looks {
				now = now.Add(l.after)
				if got := seen.look(l.leaders[:], now); got != l.want {
					t.Errorf("look %d: got calm %v, want %v", i, got, l.want)
				}
			}
		})
	}
}
