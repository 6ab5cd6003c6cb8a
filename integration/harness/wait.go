package harness

import (
	"testing"
	"time"
)

// Patience is how long a state may take to come before a test gives up.
const Patience = 60 * time.Second

// interval is how often a state that tells nobody is looked at.
const interval = 10 * time.Millisecond

// Until waits until what is true, for Patience at most. what returns a
// description of the state that it saw, for the failure.
func Until(t *testing.T, name string, what func() (seen string, done bool)) {
	t.Helper()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	end := time.NewTimer(Patience)
	defer end.Stop()
	for {
		seen, done := what()
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-end.C:
			t.Fatalf("after %v: got %s, want %s", Patience, seen, name)
		}
	}
}
