package cluster_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/selvedge-mq/selvedge/cluster"
)

// A node finds that its replica is damaged while the only other one that runs still
// lacks records that it has. If it stopped at once, that one would have the
// raft group's snapshot and not the records: it could not lead, nobody with a shorter
// group could lead it, and the repair would wait for it for ever.
func TestNode_DamageIsFoundWhileAnotherCatchesUp(t *testing.T) {
	t.Parallel()
	k, want := filled(t)
	victim := k.WaitLeader(0)
	behind, away := (victim+1)%3, (victim+2)%3
	k.Stop(behind)
	more := bulky(44)[40:]
	l := k.Node(waitTaking(t, k, 0)).Log(0)
	for i, rec := range more {
		mustAppend(t, l, uint64(40+i), rec)
	}
	k.StopAll() // each group begins with a snapshot that the one behind has not
	flipFiller(t, files(t, k.Options(victim).Dir, streamBlocks)[0])
	k.StartNode(victim)
	k.StartNode(behind)
	k.Node(victim).Raise(0)
	if err := receive(t, k.Node(victim).Failed(), "the failure"); !errors.Is(err, cluster.ErrDamaged) {
		t.Errorf("got the failure %v, want %v", err, cluster.ErrDamaged)
	}
	k.StartNode(away)
	wantRepaired(t, k, victim, slices.Concat(want, more))
}
