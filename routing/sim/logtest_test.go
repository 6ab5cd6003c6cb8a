package sim_test

import (
	"testing"

	"github.com/selvedge-mq/selvedge/routing/engine"
	"github.com/selvedge-mq/selvedge/routing/logtest"
)

// The simulated log does what every log does when nothing disturbs it. It runs in
// real time here, with three replicas and no engine.
func TestLog(t *testing.T) {
	logtest.Run(t, func(t *testing.T) engine.Log {
		t.Helper()
		w := &world{scheduler: newScheduler(1, func() {}), healed: true}
		w.plan = plan{nodes: 3, shards: 1, replicas: 3}
		w.ledger = newLedger(w)
		w.build()
		for _, n := range w.nodes {
			n.start()
		}
		g := w.groups[0]
		g.elect(g.replicas[0], true)
		leader := g.replicas[0].proc
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			w.run()
		}()
		t.Cleanup(func() {
			w.emit(source{}, w.stop)
			<-ended
		})
		return leader.Log(0)
	})
}
