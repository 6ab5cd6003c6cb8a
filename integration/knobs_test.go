package integration

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// The knobs of the test runs: a size that fits a run on a busy machine, and the
// full one, which wants a quiet machine and time.
const (
	// messages that a test of counts sends.
	shortCount, fullCount = 20_000, 100_000
	// kills of the leader.
	shortRounds, fullRounds = 2, 10
	// time for which a node is stopped with SIGSTOP.
	shortPauseTime, fullPauseTime = 3 * time.Second, 20 * time.Second
	// what a client may see when a leader dies: on a busy machine far more than the
	// second that it should be.
	busyPause, fullPause = 15 * time.Second, 1500 * time.Millisecond
	// the same when the leader stands still: its connections tell nobody.
	fullStill = 2 * time.Second
	// the same when all nodes are killed at once, or everything is done to a cluster.
	fullStorm = 10 * time.Second
	// the same when a node stops in good order.
	fullStopPause = 300 * time.Millisecond
)

// full reports whether the tests run in their full sizes.
func full() bool { return os.Getenv("SELVEDGE_FULL") != "" }

// sized returns the size of this run.
func sized[T any](short, whole T) T {
	if full() {
		return whole
	}
	return short
}

// beside has a test run beside another one: its nodes mostly wait. In full sizes, where
// pauses are measured, each test has the machine for itself.
func beside(t *testing.T) {
	t.Helper()
	if !full() {
		t.Parallel()
	}
}

// messages returns how many messages a test of counts sends.
func messages(t *testing.T) int {
	t.Helper()
	return number(t, "SELVEDGE_MESSAGES", sized(shortCount, fullCount))
}

// rounds returns how often a test does its harm, whole times in full size.
func rounds(t *testing.T, whole int) int {
	t.Helper()
	return number(t, "SELVEDGE_ROUNDS", sized(shortRounds, whole))
}

// pauseTime returns how long a node is stopped.
func pauseTime(t *testing.T) time.Duration {
	t.Helper()
	return span(t, "SELVEDGE_PAUSE", sized(shortPauseTime, fullPauseTime))
}

// longestPause returns what the longest pauses are held to, whole in full size.
func longestPause(t *testing.T, whole time.Duration) time.Duration {
	t.Helper()
	return span(t, "SELVEDGE_LONGEST_PAUSE", sized(busyPause, whole))
}

func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s: got %q, want a number above 0", name, text)
	}
	return n
}

func span(t *testing.T, name string, otherwise time.Duration) time.Duration {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		t.Fatalf("%s: got %q, want a duration as 20s", name, text)
	}
	return d
}
