package gateway

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/selvedge-mq/selvedge/gateway/api"
	"github.com/selvedge-mq/selvedge/gateway/config"
	"github.com/selvedge-mq/selvedge/routing"
)

// Times between two looks at the disk. It is watched closely when there is little
// room: what keeps the logs from filling it is this watch alone.
const (
	diskEvery = time.Second
	diskSoon  = 100 * time.Millisecond
)

// diskNear times disk-full is little room, if that is more than disk-low.
const diskNear = 4

// disk watches the free space of the data folder's disk. It is safe for
// concurrent use.
type disk struct {
	dir       string // empty: the node stores nothing
	node      string
	low, full uint64 // bytes; 0: not watched
	metrics   *metrics
	measure   func(dir string) (free uint64, err error)

	free   atomic.Int64 // bytes; negative: not known
	refuse atomic.Pointer[routing.Error]
}

func newDisk(c *config.Config, m *metrics) *disk {
	d := &disk{node: c.Node, low: uint64(c.DiskLow), full: uint64(c.DiskFull), metrics: m, measure: freeBytes} //nolint:gosec // not negative
	if c.Storage.On {
		d.dir = c.Data
	}
	d.free.Store(-1)
	return d
}

// run looks at the disk until ctx ends.
func (d *disk) run(ctx context.Context) {
	if d.dir == "" {
		return
	}
	for {
		d.look()
		if !waited(ctx, d.pause()) {
			return
		}
	}
}

// pause is the time until the next look.
func (d *disk) pause() time.Duration {
	if free := d.free.Load(); free >= 0 && uint64(free) < max(d.low, diskNear*d.full) {
		return diskSoon
	}
	return diskEvery
}

// guards says whether the watch keeps the logs from filling the disk: it is on, and
// the system tells what is free.
func (d *disk) guards() bool {
	if d.dir == "" || d.full == 0 {
		return false
	}
	_, err := d.measure(d.dir)
	return err == nil
}

func (d *disk) look() {
	free, err := d.measure(d.dir)
	if err != nil { // the system cannot tell, or the folder has gone: its logs will say so
		d.free.Store(-1)
		return
	}
	d.free.Store(int64(min(free, 1<<62)))
	d.metrics.free.Set(float64(free))
	if free < d.full {
		d.refuseFor(d.node) // the status tells the others, and when there is room
	}
}

// state says how the disk does, and how many bytes are free.
func (d *disk) state() (api.DiskState, uint64) {
	free := d.free.Load()
	if free < 0 {
		return api.DiskNone, 0
	}
	left := uint64(free)
	switch {
	case left < d.full:
		return api.DiskFull, left
	case left < d.low:
		return api.DiskLow, left
	}
	return api.DiskOK, left
}

// setFull learns how all disks of the cluster do. A node whose disk is full cannot
// follow its logs, and its shards would stand still also for consumers: so while one
// is, no node takes messages from its clients.
func (d *disk) setFull(nodes []api.Node) {
	for _, n := range nodes {
		if n.State != api.NodeDown && n.Disk == api.DiskFull {
			d.refuseFor(n.Name)
			return
		}
	}
	d.refuse.Store(nil)
}

// refuseFor has no messages taken in, because of the disk of a node.
func (d *disk) refuseFor(node string) {
	d.refuse.Store(&routing.Error{Code: routing.CodeFull, Op: "send", Reason: fmt.Sprintf(
		"the disk of node %s is nearly full (disk-full): consume messages or make room, then send again", node)})
}

// admit returns nil, or why a message is not taken in.
func (d *disk) admit() error {
	if err := d.refuse.Load(); err != nil {
		d.metrics.full.Inc()
		return err
	}
	return nil
}
