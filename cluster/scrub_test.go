package cluster_test

import (
	"errors"
	"testing"

	"github.com/selvedge-mq/selvedge/cluster"
)

// A replica that nobody reads rotted until it led. Its node reads it through and
// finds that; the others are whole, so it is repaired.
func TestNode_ScrubFindsWhatNobodyReads(t *testing.T) {
	t.Parallel()
	k, want := filled(t)
	victim := (k.WaitLeader(0) + 1) % 3
	k.StopAll() // in order: the files are not verified at the next start
	flipFiller(t, files(t, k.Options(victim).Dir, streamBlocks)[0])
	k.SetOptions(victim, func(o *cluster.Options) { o.Scrub = 64 << 20 })
	k.StartAll()
	if err := receive(t, k.Node(victim).Failed(), "the failure"); !errors.Is(err, cluster.ErrDamaged) || !errors.Is(err, cluster.ErrReopen) {
		t.Errorf("got the failure %v, want %v", err, cluster.ErrDamaged)
	}
	wantRepaired(t, k, victim, want)
}
