package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/integration/history"
)

// tally is the sum of the verdicts of a test.
type tally struct {
	confirmed, lost, doubled, again int
}

// add adds a verdict.
func (y *tally) add(v *history.Verdict) {
	y.confirmed += v.Confirmed
	y.lost += len(v.Lost)
	y.doubled += len(v.Doubled)
	y.again += v.Again
}

// tallied returns the tally of one verdict.
func tallied(v *history.Verdict) *tally {
	y := &tally{}
	y.add(v)
	return y
}

// figure puts a line into the table that `make reliability` prints: what was done,
// the messages confirmed, lost, doubled without a mark and with one, what was
// measured, and what it is held to.
func figure(t *testing.T, fault string, y *tally, value, limit string) {
	t.Helper()
	t.Logf("figure: %s | %d | %d | %d | %d | %s | %s", fault, y.confirmed, y.lost, y.doubled, y.again, value, limit)
}

// progress says how far a long test is.
func progress(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Logf("progress: %s", fmt.Sprintf(format, args...))
}

// measured prints what a run came to, for the summary of the test run.
func measured(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Logf("measured: %s", fmt.Sprintf(format, args...))
}

// rounded is a duration as it is printed.
func rounded(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// median returns the median of durations, and them as words, the shortest first.
func median(list []time.Duration) (middle time.Duration, words string) {
	sorted := slices.Sorted(slices.Values(list))
	text := make([]string, len(sorted))
	for i, d := range sorted {
		text[i] = rounded(d).String()
	}
	return sorted[len(sorted)/2], strings.Join(text, ", ")
}

// paused holds the median of pauses to its limit, and prints them.
func paused(t *testing.T, fault string, y *tally, pauses []time.Duration, limit time.Duration) {
	t.Helper()
	middle, words := median(pauses)
	held(t, fault, y, "median", middle, words, limit)
}

// pausedEach holds each of the pauses to its limit, and prints them.
func pausedEach(t *testing.T, fault string, y *tally, pauses []time.Duration, limit time.Duration) {
	t.Helper()
	_, words := median(pauses)
	held(t, fault, y, "greatest", slices.Max(pauses), words, limit)
}

// pausedAll holds the longest pause of all producers together, while all nodes were down,
// to its limit, and prints it.
func pausedAll(t *testing.T, fault string, y *tally, longest time.Duration) {
	t.Helper()
	limit := longestPause(t, fullStorm)
	if longest > limit {
		t.Errorf("%s: longest pause of all producers: got %v, want at most %v", fault, rounded(longest), limit)
	}
	measured(t, "%s: %+v, longest pause of all producers %v", fault, *y, rounded(longest))
	figure(t, fault, y, fmt.Sprintf("longest pause of all producers %v", rounded(longest)), limit.String())
}

// held holds one of the pauses, or what stands for them, to its limit, and prints it.
func held(t *testing.T, fault string, y *tally, which string, pause time.Duration, all string, limit time.Duration) {
	t.Helper()
	if pause > limit {
		t.Errorf("%s: %s of the longest pauses: got %v of %s, want at most %v", fault, which, rounded(pause), all, limit)
	}
	measured(t, "%s: longest pauses of a producer: %s %v of %s", fault, which, rounded(pause), all)
	figure(t, fault, y, fmt.Sprintf("longest pause of a producer: %s %v of %s", which, rounded(pause), all), limit.String())
}
