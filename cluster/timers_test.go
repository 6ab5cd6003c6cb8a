package cluster

import (
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"
)

// TestTimers_NamesExist fails when the embedded server renames its timers: the
// linked variables are then new ones, without its values. It looks in a process
// of its own, where no node has set them.
func TestTimers_NamesExist(t *testing.T) {
	if os.Getenv("SELVEDGE_TIMERS_CHILD") == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTimers_NamesExist$", "-test.v")
		cmd.Env = append(os.Environ(), "SELVEDGE_TIMERS_CHILD=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	for _, v := range []struct {
		name      string
		got, want time.Duration
	}{
		{"minElectionTimeout", minElectionTimeout, 4 * time.Second},
		{"maxElectionTimeout", maxElectionTimeout, 9 * time.Second},
		{"hbInterval", hbInterval, time.Second},
		{"lostQuorumInterval", lostQuorumInterval, 10 * time.Second},
		{"lostQuorumCheck", lostQuorumCheck, 10 * time.Second},
		{"streamCatchupStartInterval", streamCatchupStartInterval, 5 * time.Second},
	} {
		if v.got != v.want {
			t.Errorf("%s: got %v, want the embedded server's own %v", v.name, v.got, v.want)
		}
	}
	// Also when the first is the server's own, which changed none of the others.
	if err := setTimers(4 * time.Second); err != nil || maxElectionTimeout != 8*time.Second {
		t.Errorf("got %v, %v after setting 4s", maxElectionTimeout, err)
	}
	// A server that runs reads them.
	if err := setTimers(time.Second); err == nil || minElectionTimeout != 4*time.Second {
		t.Errorf("got %v, %v for another node of the process; want it refused", minElectionTimeout, err)
	}
	timers.election = 0 // none runs here
	if err := errors.Join(setTimers(200*time.Millisecond), setTimers(200*time.Millisecond)); err != nil {
		t.Error(err)
	}
	if minElectionTimeout != 200*time.Millisecond || maxElectionTimeout != 400*time.Millisecond ||
		hbInterval != 50*time.Millisecond || lostQuorumInterval > 400*time.Millisecond || lostQuorumCheck > 400*time.Millisecond ||
		streamCatchupStartInterval != 400*time.Millisecond {
		t.Errorf("got %v %v %v %v %v %v after setting 200ms",
			minElectionTimeout, maxElectionTimeout, hbInterval, lostQuorumInterval, lostQuorumCheck, streamCatchupStartInterval)
	}
}
