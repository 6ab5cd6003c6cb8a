package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/cluster"
	"github.com/selvedge-mq/selvedge/cluster/clustertest"
)

// A second process of a name took the links of the first one over: the others had
// its peers meet anew, and its votes and confirmations counted for the first one's.
func TestName_SecondProcessIsRefused(t *testing.T) {
	t.Parallel()
	k := clustertest.New(t, 2, func(_ int, o *cluster.Options) { o.Shards = 1 })
	k.StartAll()
	first := k.Node(1)
	seen := func() string {
		for _, m := range k.Node(0).Members() {
			if m.Name == "n1" {
				return fmt.Sprint(m.State, m.Session)
			}
		}
		return ""
	}
	k.Wait("n0 hears n1", func() bool { return seen() != "" })
	want := fmt.Sprint(cluster.MemberUp, first.Session())
	for _, c := range []struct {
		name  string
		seeds []string
	}{
		{"that meets the first one itself", []string{k.Options(1).Listen}},
		{"that meets another node alone", k.Options(1).Seeds},
	} {
		for _, front := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, front-only %v", c.name, front), func(t *testing.T) {
				o := k.Options(1)
				o.Dir, o.Seeds, o.FrontOnly, o.Listen = t.TempDir(), c.seeds, front, k.Options(1).Advertise
				if front {
					o.Dir = ""
				}
				second, err := cluster.Open(t.Context(), o)
				if err == nil {
					second.Kill()
				}
				if !errors.Is(err, cluster.ErrNameTaken) || !strings.Contains(err.Error(), `"n1"`) {
					t.Errorf("got %v, want %v", err, cluster.ErrNameTaken)
				}
				if got := seen(); got != want {
					t.Errorf("n0 sees n1 as %s, want %s", got, want)
				}
			})
		}
	}
}

// A node that is started again right behind its death is not kept waiting by what the
// others heard of it before.
func TestName_OfADeadProcessIsFree(t *testing.T) {
	t.Parallel()
	k := clustertest.New(t, 2, func(_ int, o *cluster.Options) { o.Shards = 1 })
	k.StartAll()
	k.Wait("n0 hears n1", func() bool { return len(k.Node(0).Members()) == 2 })
	k.Kill(1)
	if second := k.StartNode(1); second.Name() != "n1" {
		t.Errorf("got %q, want n1", second.Name())
	}
}

// A node that was silent so long that another process took its name stops, whatever it
// believes: the registry says whose the name is.
func TestName_TheRegistrySaysWhoseItIs(t *testing.T) {
	t.Parallel()
	n := openStandalone(t, t.TempDir())
	var entered bool
	for !entered {
		e, err := n.ReadEntry(t.Context(), "alone")
		entered = err == nil && e.Session == n.Session()
	}
	if err := n.ChangeEntry(t.Context(), "alone", func(e *cluster.Entry) error { e.Session++; return nil }); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-n.Failed():
		if !errors.Is(err, cluster.ErrNameTaken) {
			t.Errorf("got %v, want %v", err, cluster.ErrNameTaken)
		}
	case <-time.After(clustertest.Patience):
		t.Error("the node goes on")
	}
}

// A node that waits for its repair stores nothing, and has its name all the same: a
// second process took it, and was stopped at the registry, together with the first one.
func TestName_OfANodeThatWaitsForItsRepairIsTaken(t *testing.T) {
	t.Parallel()
	k, _ := filled(t)
	up := k.WaitLeader(0)
	victim, away := (up+1)%3, (up+2)%3
	k.Kill(victim)
	k.Stop(away)
	flipFiller(t, files(t, k.Options(victim).Dir, streamBlocks)[0])
	waits, ended := make(chan string, 1000), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	o := k.Options(victim)
	o.OnHealth = func(h []cluster.ReplicaHealth) {
		if len(h) == 1 && strings.Contains(h[0].Reason, "repair waits") {
			waits <- h[0].Reason
		}
	}
	go func() {
		defer close(ended)
		if n, err := cluster.Open(ctx, o); err == nil {
			n.Kill()
		}
	}()
	receive(t, waits, "the wait for the repair")
	o = k.Options(victim)
	o.Dir, o.Listen = t.TempDir(), o.Advertise
	second, err := cluster.Open(t.Context(), o)
	if err == nil {
		second.Kill()
	}
	if !errors.Is(err, cluster.ErrNameTaken) {
		t.Errorf("got %v, want %v", err, cluster.ErrNameTaken)
	}
	cancel()
	receiveClosed(t, ended)
}
