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
	if middle > limit {
		t.Errorf("%s: median of the longest pauses: got %v of %s, want at most %v", fault, rounded(middle), words, limit)
	}
	measured(t, "%s: longest pauses of a producer: median %v of %s", fault, rounded(middle), words)
	figure(t, fault, y, fmt.Sprintf("longest pause of a producer: median %v of %s", rounded(middle), words), limit.String())
}
