package gateway

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

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
	log       zerolog.Logger
	measure   func(dir string) (free uint64, err error)

	told   api.DiskState // what the log was told last, and when; of the goroutine that looks
	toldAt time.Time

	toldOther   bool // the log was told last that another node's disk is full, and when; of the goroutine that calls setFull
	toldOtherAt time.Time

	free   atomic.Int64 // bytes; negative: not known
	refuse atomic.Pointer[routing.Error]
}

func newDisk(c *config.Config, m *metrics, log zerolog.Logger) *disk {
	d := &disk{
		node: c.Node, low: uint64(c.DiskLow), full: uint64(c.DiskFull), //nolint:gosec // not negative
		metrics: m, log: log, measure: freeBytes, told: api.DiskOK,
	}
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
	d.tell()
}

// diskBetter is how long the log keeps to what it said before it says that there is
// more room: the free space may go to and fro.
const diskBetter = 10 * time.Second

// severity puts the states in order.
var severity = map[api.DiskState]int{api.DiskOK: 0, api.DiskLow: 1, api.DiskFull: 2}

// tell logs that the disk does worse, or has room again.
func (d *disk) tell() {
	state, free := d.state()
	if state == d.told || severity[state] < severity[d.told] && time.Since(d.toldAt) < diskBetter {
		return
	}
	d.told, d.toldAt = state, time.Now()
	log := d.log.With().Str("folder", d.dir).Uint64("free", free).Uint64("disk_low", d.low).Uint64("disk_full", d.full).Logger()
	switch state {
	case api.DiskFull:
		log.Error().Msg("the disk is nearly full: no node takes messages until there is room")
	case api.DiskLow:
		log.Warn().Msg("the disk has little room left")
	case api.DiskOK, api.DiskNone:
		log.Info().Msg("the disk has room again")
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
	full := ""
	for _, n := range nodes {
		if n.State != api.NodeDown && n.Disk == api.DiskFull {
			full = n.Name
			break
		}
	}
	if full != "" {
		d.refuseFor(full)
	} else {
		d.refuse.Store(nil)
		d.metrics.refusing.Set(0)
	}
	d.tellOther(full)
}

// tellOther logs that messages are refused because of another node's disk, or taken
// again. The node's own disk is told as it is measured.
func (d *disk) tellOther(full string) {
	refused := full != ""
	if refused && full == d.node || refused == d.toldOther || time.Since(d.toldOtherAt) < diskBetter {
		return
	}
	d.toldOther, d.toldOtherAt = refused, time.Now()
	if refused {
		d.log.Warn().Str("peer", full).Msg("messages are refused: the disk of another node is nearly full")
		return
	}
	d.log.Info().Msg("messages are taken again")
}

// refuseFor has no messages taken in, because of the disk of a node.
func (d *disk) refuseFor(node string) {
	d.refuse.Store(&routing.Error{Code: routing.CodeFull, Op: "send", Reason: fmt.Sprintf(
		"the disk of node %s is nearly full (disk-full): consume messages or make room, then send again", node)})
	d.metrics.refusing.Set(1)
}

// refuses says why no messages are taken in, nothing while they are.
func (d *disk) refuses() string {
	if err := d.refuse.Load(); err != nil {
		return err.Reason
	}
	return ""
}

// admit returns nil, or why a message is not taken in.
func (d *disk) admit() error {
	if err := d.refuse.Load(); err != nil {
		d.metrics.full.Inc()
		return err
	}
	return nil
}
