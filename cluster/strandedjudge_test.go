package cluster

import (
	"errors"
	"math"
	"testing"
)

// opinions are what others say of a shard that nobody leads.
var (
	allUpTo9  = grantOpinion{Holds: true, Sound: true, Current: true, Last: 9, Reach: 9}
	lacksTo9  = grantOpinion{Holds: true, Sound: true, Last: 7, Reach: 9}
	lacksTo10 = grantOpinion{Holds: true, Sound: true, Last: 7, Reach: 10}
	leads     = grantOpinion{Holds: true, Sound: true, Current: true, Last: 9, Reach: 9, Leader: "c"}
	emptied   = grantOpinion{Holds: true}
	silent    = grantOpinion{Holds: true, Sound: true, Current: true, Last: 9}
	undecided = grantOpinion{Holds: true, Sound: true, Current: true, Last: 9, Reach: 10}
)

func TestJudgeUnled(t *testing.T) {
	all := []string{"a", "b", "c"}
	for _, c := range []struct {
		name    string
		holders []string
		last    uint64 // that the node is known to have had
		answers []grantAnswer
		granted bool
	}{
		{"one has all, one lacks records", all, 9, []grantAnswer{answer("b", allUpTo9), answer("c", lacksTo9)}, true},
		{"the one that lacks records knows of more", all, 9, []grantAnswer{answer("b", allUpTo9), answer("c", lacksTo10)}, false},
		{"the node itself had more", all, 10, []grantAnswer{answer("b", allUpTo9), answer("c", lacksTo9)}, false},
		{"what the one has is not decided", all, 9, []grantAnswer{answer("b", undecided), answer("c", lacksTo9)}, false},
		{"all lack records", all, 9, []grantAnswer{answer("b", lacksTo9), answer("c", lacksTo9)}, false},
		{"one was emptied, and has forgotten what it confirmed", all, 9, []grantAnswer{answer("b", allUpTo9), answer("c", emptied)}, false},
		{"one does not answer", all, 9, []grantAnswer{answer("b", allUpTo9)}, false},
		{"one does not say how far it goes", all, 9, []grantAnswer{answer("b", allUpTo9), answer("c", silent)}, false},
		{"one follows a leader", all, 9, []grantAnswer{answer("b", allUpTo9), answer("c", leads)}, false},
		{"there is one other replica", []string{"a", "b"}, 9, []grantAnswer{answer("b", allUpTo9)}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := judgeUnled("a", 0, replicaState{Last: c.last, Replicas: c.holders}, c.answers); (err == nil) != c.granted {
				t.Errorf("got %v, want granted: %v", err, c.granted)
			}
		})
	}
}

func TestJudgeStranded(t *testing.T) {
	for _, c := range []struct {
		name    string
		reach   uint64
		accept  bool
		answers []grantAnswer
		upTo    uint64 // 0: refused
	}{
		{"one has all, the damaged one was emptied", 9, false, []grantAnswer{answer("b", allUpTo9), answer("c", emptied)}, 9},
		{"the damaged one still waits", 9, false, []grantAnswer{answer("b", allUpTo9)}, 0},
		{"nobody has all", 10, false, []grantAnswer{answer("b", allUpTo9), answer("c", emptied)}, 0},
		{"nobody has all, and that is accepted", 10, true, []grantAnswer{answer("b", allUpTo9), answer("c", emptied)}, math.MaxUint64},
		{"nobody has anything, which nobody can accept", 10, true, []grantAnswer{answer("b", emptied), answer("c", emptied)}, 0},
		{"there is a leader", 9, true, []grantAnswer{answer("b", allUpTo9), answer("c", leads)}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			upTo, err := judgeStranded("a", 0, replicaState{Replicas: []string{"a", "b", "c"}}, c.reach, c.accept, c.answers)
			if upTo != c.upTo || (err == nil) != (c.upTo > 0) {
				t.Errorf("got up to %d, %v, want up to %d", upTo, err, c.upTo)
			}
		})
	}
	if _, err := judgeStranded("a", 0, replicaState{}, 9, false, nil); !errors.Is(err, errUnled) {
		t.Errorf("nobody answers: got %v, want %v", err, errUnled)
	}
}
