package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/integration/harness"
	"github.com/selvedge-mq/selvedge/integration/interop"
)

// movedQueues are in the folder that is imported: enough for all shards.
const movedQueues = 8

// moving is a folder of a node alone on its way into a cluster of three. The node
// that brings it is the first one.
type moving struct {
	t       *testing.T
	cluster *harness.Cluster
	ledgers []*ledger // of each queue
	share   int       // messages of each queue
}

// newMoving makes the folder, with count messages, and a cluster that was never
// started.
func newMoving(t *testing.T, count int) *moving {
	t.Helper()
	m := &moving{t: t, cluster: harness.NewCluster(t, 3), share: count / movedQueues}
	alone := harness.New(t, harness.Options{Name: m.bringer().Name, Dir: m.bringer().Options.Dir})
	alone.Launch()
	alone.AwaitReady()
	for q := range movedQueues {
		m.ledgers = append(m.ledgers, fill(t, alone, movedQueue(q), m.share))
	}
	alone.Stop()
	progress(t, "import: a folder with %d messages", m.count())
	return m
}

func movedQueue(q int) string { return fmt.Sprintf("moved-%d", q) }

func (m *moving) count() int { return movedQueues * m.share }

// bringer is the node whose folder it is, asked another one, which sees what has
// arrived.
func (m *moving) bringer() *harness.Node { return m.cluster.Nodes[0] }
func (m *moving) asked() *harness.Node   { return m.cluster.Nodes[1] }

// taken returns how many messages the cluster has, 0 when that is not known.
func (m *moving) taken() int {
	list, err := harness.LookQueues(m.asked().HTTP)
	if err != nil {
		return 0
	}
	sum := 0
	for _, q := range list {
		sum += q.Depth
	}
	return sum
}

// await waits until so many messages have arrived, and returns how many they are.
func (m *moving) await(count int) (taken int) {
	m.t.Helper()
	harness.Until(m.t, fmt.Sprintf("%d messages in the cluster", count), func() (string, bool) {
		taken = m.taken()
		return fmt.Sprint(taken), taken >= count
	})
	return taken
}

// arrive starts whoever does not run, and checks that everything has come, once.
func (m *moving) arrive(fault, figured string) {
	m.t.Helper()
	m.cluster.StartAll()
	var all tally
	for q, l := range m.ledgers {
		v := empty(m.t, l, m.cluster.Nodes[q%3], movedQueue(q), m.share)
		all.add(&v)
	}
	figure(m.t, fault, &all, figured, "")
}

// A folder of a node that ran alone enters a cluster of three with all its
// messages: nothing lost, nothing doubled.
func TestFaultImport(t *testing.T) {
	beside(t)
	m := newMoving(t, messages(t))
	for _, n := range m.cluster.Nodes {
		n.Launch()
	}
	m.await(1)
	begin := time.Now()
	m.await(m.count())
	took := rounded(time.Since(begin))
	measured(t, "import of %d messages: %v from the first to the last", m.count(), took)
	m.arrive("import", fmt.Sprintf("%v from the first message to the last", took))
}

// The node is killed while its folder is taken in, time and again: before the first
// message, at random points, and when the last one is there.
func TestFaultImportKilled(t *testing.T) {
	beside(t)
	m, kills := newMoving(t, messages(t)), max(3, rounds(t, 6))
	for _, n := range m.cluster.Nodes[1:] {
		n.Launch()
	}
	var points []string
	for i := range kills {
		m.bringer().Launch()
		taken := 0
		switch i {
		case 0: // while the folder is opened, or the cluster formed
			wait := time.NewTimer(time.Duration(rand.Int64N(int64(2 * time.Second))))
			<-wait.C
		case kills - 1:
			taken = m.await(m.count())
		default:
			step := m.count() / (kills - 1)
			taken = m.await((i-1)*step + 1 + rand.IntN(step))
		}
		m.bringer().Kill()
		points = append(points, fmt.Sprint(taken))
		progress(t, "import: kill %d of %d, %s of %d messages were there", i+1, kills, points[i], m.count())
	}
	at := strings.Join(points, ", ")
	measured(t, "import of %d messages, killed when these were there: %s", m.count(), at)
	m.arrive(fmt.Sprintf("import, kill -9 of its node %d times", kills), "killed at "+at+" messages")
}

// Another node is killed in the middle: the import goes on with the majority.
func TestFaultImportWithoutANode(t *testing.T) {
	beside(t)
	m := newMoving(t, messages(t))
	for _, n := range m.cluster.Nodes {
		n.Launch()
	}
	at := m.await(1 + rand.IntN(m.count()/2))
	m.cluster.Nodes[2].Kill()
	m.bringer().AwaitReady()
	measured(t, "import of %d messages: another node was killed when %d were there", m.count(), at)
	m.arrive("import, kill -9 of another node", fmt.Sprintf("killed at %d messages", at))
}

// The disk of the node that brings a folder has no room for a second copy: the
// import ends on the majority, the cluster is degraded until somebody has made room,
// and then that node has everything, too.
func TestFaultImportFullDisk(t *testing.T) {
	beside(t)
	const count, size, room = 1000, 16 << 10, 6 << 20
	unwatched := []string{"--disk-low", "0", "--disk-full", "0"}
	disk := mounted(t, harness.Dir(t), "size=64m")
	cluster := harness.NewCluster(t, 3, unwatched...)
	a, b := cluster.Nodes[0], cluster.Nodes[1]
	a.Options.Dir = disk
	a.Options.Args = unwatched
	alone := harness.Start(t, harness.Options{Name: a.Name, Dir: a.Options.Dir, Args: a.Options.Args})
	l, amqp := newLedger(), interop.GoAMQP{}
	to := at(alone, amqp, "large")
	to.Size = size
	if err := amqp.Stream(bounded(t), to, interop.All(l.bodies("large", count)), l.confirm); err != nil {
		t.Fatal(err)
	}
	alone.Stop()
	ballast := kept(t, disk, "ballast", strings.Repeat("x", freeOn(t, disk)-room))
	for _, n := range cluster.Nodes {
		n.Launch()
	}
	a.AwaitReady() // everything is in the cluster
	harness.Until(t, "a cluster that is degraded", func() (string, bool) {
		view, err := harness.LookNodes(b.HTTP)
		return fmt.Sprintf("%+v, error %v", view, err), err == nil && view.State == "degraded" && view.Quorum
	})
	if stored, err := a.Stored(); err != nil || stored >= 2*count*size {
		t.Errorf("stored by the node without room: got %d bytes, error %v, want less than two copies", stored, err)
	}
	a.Kill()
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(shortly(t), "mount", "-o", "remount,size=400m", disk).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cluster.StartAll()
	cluster.Nodes[2].Kill() // of the two that are left, both are needed
	v := empty(t, l, a, "large", count)
	figure(t, "import, no room for it on one disk", tallied(&v), "degraded until there is room", "")
}

// freeOn returns how many bytes are free on a disk.
func freeOn(t *testing.T, disk string) int {
	t.Helper()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(disk, &fs); err != nil {
		t.Fatal(err)
	}
	free := int(fs.Bavail) * int(fs.Bsize)
	t.Logf("%d bytes are free on %s", free, disk)
	return free
}
