package engine_test

import (
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/routing/engine"
)

// FuzzReceive gives a node whatever another one might send. Nodes trust each other,
// so it may follow a leader that is none, but it goes on, and answers its clients.
func FuzzReceive(f *testing.F) {
	for verb := range byte(40) {
		f.Add(byte(engine.LaneControl), []byte{verb, 0, 0, 0, 0, 0, 1})
		f.Add(byte(engine.LaneSend), append([]byte{verb, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 100}, make([]byte, 32)...))
	}
	f.Fuzz(func(t *testing.T, lane byte, msg []byte) {
		c := newCluster(t, 2, 1, func(o *engine.Options) { o.SendTimeout, o.Log = 300*time.Millisecond, zerolog.Nop() })
		a := c.nodes[0]
		a.fabric.Lead(0)
		p := a.client(t)
		p.send(1, "q", "x", true)
		_ = p.result(1)
		a.Receive("b", engine.Lane(lane%engine.Lanes), msg)
		p.send(2, "q", "y", true)
		_ = p.result(2) // any answer will do
	})
}
