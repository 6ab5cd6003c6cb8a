package shard

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the shard's lines of the scripts")

// TestShard_Scripts plays the transcripts in testdata: "> " is what happens to a
// shard, "< " what it does. testdata/README.md says what can happen. Each
// transcript ends with a replay of its log, which must give the leader's state.
func TestShard_Scripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("got no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { playFile(t, file) })
	}
}

// playFile plays each transcript of a file on a log of its own.
func playFile(t *testing.T, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split("\n"+string(data), "\n--- ")
	played := []string{parts[0]}
	for _, part := range parts[1:] {
		title, _, _ := strings.Cut(part, "\n")
		part = strings.TrimRight(part, "\n")
		now := part
		t.Run(title, func(t *testing.T) {
			now = newStage(t).play(part)
			if !*update && now != part {
				t.Errorf("(-want +got):\n%s", cmp.Diff(part, now))
			}
		})
		played = append(played, now)
	}
	if *update {
		text := strings.TrimPrefix(strings.Join(played, "\n\n--- "), "\n\n") + "\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// stage is a shard's log, its leader, and what the nodes of the script know.
type stage struct {
	t     *testing.T
	out   strings.Builder
	opts  Options
	l     *leader
	nodes map[string]*stageNode
	pipe  []*Batch // sealed, not in the log
	heard []*Batch // in the log, not applied
	lost  [][]byte // sealed by somebody, never committed
}

// stageNode is a node as the script speaks of it: its session, and the numbers
// of its next requests.
type stageNode struct {
	session uint64
	next    [3]uint64 // by lane
}

func newStage(t *testing.T) *stage {
	t.Helper()
	return &stage{t: t, nodes: map[string]*stageNode{}, l: &leader{t: t, first: 1, now: 1}}
}

// play runs the script and returns it with the lines that the shard gives now.
func (s *stage) play(text string) string {
	s.t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "<") {
			continue
		}
		s.out.WriteString(line + "\n")
		if order, ok := strings.CutPrefix(line, "> "); ok {
			s.obey(strings.Fields(order))
		}
	}
	s.compareReplay()
	return strings.TrimSuffix(s.out.String(), "\n")
}

// say writes a line of the shard's.
func (s *stage) say(format string, args ...any) {
	fmt.Fprintf(&s.out, "< "+format+"\n", args...)
}

// compareReplay applies the log to a fresh shard: its durable state must be the
// leader's, once the leader knows all that is in the log.
func (s *stage) compareReplay() {
	s.t.Helper()
	if s.l.s == nil {
		return
	}
	for len(s.heard) > 0 {
		s.apply()
	}
	again := replay(s.t, s.opts, s.l.first, s.l.log)
	if diff := cmp.Diff(durable(s.l.s), durable(again)); diff != "" {
		s.t.Errorf("a replay of the log gives another state (-leader +replay):\n%s", diff)
	}
}
