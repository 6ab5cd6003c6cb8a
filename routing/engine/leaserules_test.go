package engine

import (
	"testing"
	"time"
)

// A lease that is new, or has run out, rests on nodes that may just have answered a
// leader of another epoch. It is held again when all have answered, or when a
// majority still does after the time of a lease.
func TestLease_IsHeldWhenNobodyElseCanHoldOne(t *testing.T) {
	const step, length = 100 * time.Millisecond, 400 * time.Millisecond
	for _, c := range []struct {
		name    string
		answers []string // of each heartbeat, the nodes that answer it
		want    string   // after each: x held, - not
	}{
		{"all answer", []string{"bc", "bc"}, "xx"},
		{"a majority answers for the time of a lease", []string{"b", "b", "b", "b", "b", "b"}, "----xx"},
		{"the last one answers meanwhile", []string{"b", "b", "bc", "b"}, "--xx"},
		{"a lease that is held is renewed by a majority", []string{"bc", "b", "c", "b", "c", "b"}, "xxxxxx"},
		{"nobody answers until it has run out", []string{"bc", "", "", "", "", "b", "b", "b", "b", "b"}, "xxxx-----x"},
		{"it has run out, and all answer", []string{"bc", "", "", "", "", "bc"}, "xxxx-x"},
		{"a majority falls silent, and answers again", []string{"b", "", "", "", "", "", "", "b", "b", "b", "b", "b"}, "-----------x"},
		{"another one's node falls silent", []string{"b", "b", "b", "", "", ""}, "------"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := &Engine{node: "a"}
			e.opts.Lease, e.opts.Fabric = length, threeReplicas{}
			var l lease
			l.begin(e, 0)
			now, got := time.Now(), ""
			for _, nodes := range c.answers {
				n := l.next(now)
				for _, node := range nodes {
					l.mu.Lock()
					l.answer(string(node), n, now)
					l.mu.Unlock()
				}
				held := "-"
				if l.held(now) {
					held = "x"
				}
				got += held
				now = now.Add(step)
			}
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// threeReplicas is a fabric whose logs have replicas on the nodes a, b and c.
type threeReplicas struct{ Fabric }

func (threeReplicas) Replicas(int) []string { return []string{"a", "b", "c"} }
