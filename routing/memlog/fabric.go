package memlog

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/selvedge-mq/selvedge/internal/mailbox"
	"github.com/selvedge-mq/selvedge/routing/engine"
)

// ErrNotLeader says that a node cannot resign what it does not lead.
var ErrNotLeader = errors.New("memlog: this node does not lead the shard")

// Fabric is an engine.Fabric in memory, as one node sees it: the test says which
// node leads. [Fabric.Join] adds nodes on the same logs.
type Fabric struct {
	node    string
	world   *world
	told    []bool // by shard, what this node believes; world.mu guards it
	logs    []*Log
	changes *mailbox.Mailbox[engine.Leadership]
	out     chan engine.Leadership
	stop    chan struct{}
	ended   chan struct{}
	once    sync.Once
}

var _ engine.Fabric = (*Fabric)(nil)

// world is what the fabrics of all nodes share.
type world struct {
	mu    sync.Mutex
	nodes []*Fabric
	leads []*Fabric // by shard, nil if none
}

// NewFabric returns the fabric of a first node, with n shards that nobody leads.
// It must be closed.
func NewFabric(node string, n int, o Options) *Fabric {
	w := &world{leads: make([]*Fabric, n)}
	logs := make([]*Log, n)
	for i := range logs {
		logs[i] = New(o)
	}
	return w.join(node, logs)
}

// Join returns the fabric of another node, with views of the same logs. It must
// be closed.
func (f *Fabric) Join(node string) *Fabric {
	logs := make([]*Log, len(f.logs))
	for i, l := range f.logs {
		logs[i] = l.View()
	}
	return f.world.join(node, logs)
}

func (w *world) join(node string, logs []*Log) *Fabric {
	f := &Fabric{
		node:    node,
		world:   w,
		told:    make([]bool, len(logs)),
		logs:    logs,
		changes: mailbox.New[engine.Leadership](),
		out:     make(chan engine.Leadership),
		stop:    make(chan struct{}),
		ended:   make(chan struct{}),
	}
	w.mu.Lock()
	w.nodes = append(w.nodes, f)
	w.mu.Unlock()
	go f.pump()
	return f
}

// Lead makes this node the shard's leader; the one before it is told that it
// ceased to lead.
func (f *Fabric) Lead(shard int) {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	f.world.lead(shard, f)
}

// Abandon leaves the shard without a leader if this node leads it, and tells a
// node that was usurped the truth.
func (f *Fabric) Abandon(shard int) {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	if f.world.leads[shard] == f {
		f.world.leads[shard] = nil
	}
	f.tell(shard, false)
}

// Usurp makes this node the shard's leader without telling the one before it,
// as happens to a node that is cut off: it goes on until Abandon tells it.
func (f *Fabric) Usurp(shard int) {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	f.world.leads[shard] = nil
	f.world.lead(shard, f)
}

// Leads says whether this node leads the shard.
func (f *Fabric) Leads(shard int) bool {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	return f.world.leads[shard] == f
}

// View returns this node's view of a shard's log, to set its faults.
func (f *Fabric) View(shard int) *Log { return f.logs[shard] }

// Shards returns the number of shards.
func (f *Fabric) Shards() int { return len(f.logs) }

// Log returns this node's view of a shard's log.
func (f *Fabric) Log(shard int) engine.Log { return f.logs[shard] }

// Leadership returns the channel of changes. All changes are told, in order.
func (f *Fabric) Leadership() <-chan engine.Leadership { return f.out }

// Replicas returns the names of all nodes that were not closed.
func (f *Fabric) Replicas(int) []string {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	names := make([]string, 0, len(f.world.nodes))
	for _, n := range f.world.nodes {
		names = append(names, n.node)
	}
	slices.Sort(names)
	return names
}

// Resign hands the shard to the node that joined next; a node on its own ceases
// to lead and leads again.
func (f *Fabric) Resign(ctx context.Context, shard int) error {
	if err := ctx.Err(); err != nil {
		return err // as one that has others to ask
	}
	w := f.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.leads[shard] != f {
		return ErrNotLeader
	}
	next := w.nodes[(slices.Index(w.nodes, f)+1)%len(w.nodes)]
	w.lead(shard, nil)
	w.lead(shard, next)
	return nil
}

// Close takes the node out: it leads nothing any more, its logs are closed, and
// so is the channel of changes.
func (f *Fabric) Close() error {
	f.once.Do(func() {
		w := f.world
		w.mu.Lock()
		w.nodes = slices.DeleteFunc(w.nodes, func(n *Fabric) bool { return n == f })
		for shard, n := range w.leads {
			if n == f {
				w.leads[shard] = nil
			}
		}
		w.mu.Unlock()
		close(f.stop)
		for _, l := range f.logs {
			_ = l.Close() // never fails
		}
	})
	<-f.ended
	return nil
}

// lead changes the leader and tells those concerned. w.mu is held; putting into
// a mailbox does not block.
func (w *world) lead(shard int, to *Fabric) {
	old := w.leads[shard]
	if old == to {
		return
	}
	w.leads[shard] = to
	if old != nil {
		old.tell(shard, false)
	}
	if to != nil {
		to.tell(shard, true)
	}
}

// tell reports a change to the node; world.mu is held.
func (f *Fabric) tell(shard int, leads bool) {
	if f.told[shard] != leads {
		f.told[shard] = leads
		f.changes.Put(engine.Leadership{Shard: shard, Leads: leads})
	}
}

// pump passes the changes on to who listens.
func (f *Fabric) pump() {
	defer close(f.ended)
	defer close(f.out)
	var batch []engine.Leadership
	for {
		select {
		case <-f.stop:
			return
		case <-f.changes.Ready():
		}
		batch = f.changes.Take(batch)
		for _, c := range batch {
			select {
			case f.out <- c:
			case <-f.stop:
				return
			}
		}
	}
}
