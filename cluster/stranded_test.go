package cluster_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/cluster"
	"github.com/selvedge-mq/selvedge/cluster/clustertest"
)

// stranded is a cluster of which one node has ended that is damaged, while another one
// caught up from it. That one has its snapshot and not the last record, which is damaged;
// the third one was away, has all of want, and runs again.
type stranded struct {
	*clustertest.Cluster
	damaged, behind int
	want            []string
}

// strand makes one. later are appended while the third one is away.
func strand(t *testing.T, later ...string) stranded {
	t.Helper()
	k, want := filled(t)
	s := stranded{Cluster: k, damaged: k.WaitLeader(0)}
	s.behind = (s.damaged + 1) % 3
	away := (s.damaged + 2) % 3
	k.Stop(s.behind)
	more := bulky(44)[40:]
	l := k.Node(waitTaking(t, k, 0)).Log(0)
	for i, rec := range more {
		mustAppend(t, l, uint64(40+i), rec)
	}
	s.want = slices.Concat(want, more)
	k.Wait("the one that will be away has all", func() bool { return k.Node(away).ShardStats(0).Last == 44 })
	k.StopAll() // each group begins with a snapshot that the one behind has not
	flipLast(t, files(t, k.Options(s.damaged).Dir, streamBlocks)[0])
	k.StartNode(s.damaged)
	k.StartNode(s.behind)
	k.Wait("the one behind has all but the damaged record", func() bool { return k.Node(s.behind).ShardStats(0).Last == 43 })
	for i, rec := range later {
		mustAppend(t, k.Node(waitTaking(t, k, 0)).Log(0), uint64(44+i), rec)
	}
	k.Node(s.damaged).Raise(0)
	k.Wait("the damage is found", func() bool { return len(k.Node(s.damaged).Health()) > 0 })
	k.Kill(s.damaged)
	k.StartNode(away)
	return s
}

// again waits until the one behind ends, and starts it again.
func (s stranded) again(t *testing.T) {
	t.Helper()
	if err := receive(t, s.Node(s.behind).Failed(), "the end of the one behind"); !errors.Is(err, cluster.ErrReopen) {
		t.Errorf("got the failure %v, want %v", err, cluster.ErrReopen)
	}
	s.Kill(s.behind)
	s.StartNode(s.behind)
}

// flipLast flips a bit in the body of the last record of bulky in a file.
func flipLast(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1000] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A damaged node ends while another one catches up from it. That one could not lead, and
// voted for nobody: the third one, which has all, was never elected, and the damaged one
// waited for ever, with accept-loss too.
func TestNode_StrandedByADamagedOne(t *testing.T) {
	t.Parallel()
	s := strand(t)
	s.StartNode(s.damaged) // as soon as its replica may be emptied
	s.again(t)
	s.WaitReady()
	s.WaitHealthy()
	wantWhole(t, s.Cluster, s.want)
}

// What only the two of them have confirmed is given up by nobody but the operator.
func TestNode_StrandedWithWhatNobodyElseHas(t *testing.T) {
	t.Parallel()
	s := strand(t, "confirmed by the two")
	told := make(chan string, 1000)
	s.SetOptions(s.damaged, func(o *cluster.Options) {
		o.AcceptLoss, o.AcceptAfter = true, cluster.DefaultAcceptAfter
		o.OnHealth = func(h []cluster.ReplicaHealth) {
			for _, r := range h {
				told <- r.Reason
			}
		}
	})
	s.StartNode(s.damaged)
	const want = "n1 knows of records up to 45, and of the other nodes none has them beyond 44: to go on without those"
	for reason := ""; !strings.Contains(reason, strings.ReplaceAll(want, "n1", s.Options(s.behind).Node)); {
		reason = receive(t, told, "the reason "+want)
	}
	s.Kill(s.behind)
	s.SetOptions(s.behind, func(o *cluster.Options) { o.AcceptLoss, o.AcceptAfter = true, time.Second })
	s.StartNode(s.behind)
	s.again(t)
	s.WaitReady()
	s.WaitHealthy()
	wantWhole(t, s.Cluster, s.want)
}
