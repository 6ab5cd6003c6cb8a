package cluster

import (
	"errors"
	"testing"
	"time"
)

// answer is what a node says of shard 0.
func answer(node string, o grantOpinion) grantAnswer {
	return grantAnswer{Node: node, Shards: map[int]grantOpinion{0: o}}
}

// nobody says that no other node waits for this one.
func nobody(string) bool { return false }

func TestJudgeGrant(t *testing.T) {
	const noted = 9 // the last sequence that the node is known to have had
	all := []string{"a", "b", "c"}
	fine := func(node string) grantAnswer {
		return answer(node, grantOpinion{Holds: true, Whole: true, Last: noted, Leader: "b", Replicas: all})
	}
	for _, c := range []struct {
		name    string
		known   []string
		answers []grantAnswer
		granted bool
	}{
		{"both others are whole", all, []grantAnswer{fine("b"), fine("c")}, true},
		{"the node forgot who the others are", nil, []grantAnswer{fine("b"), fine("c")}, true},
		{"nobody answers", all, nil, false},
		{"nobody answers one who forgot", nil, nil, false},
		{"one of two does not answer", all, []grantAnswer{fine("b")}, false},
		{"one that the node did not know does not answer", []string{"a", "b"}, []grantAnswer{fine("b")}, false},
		{"one is being repaired", all, []grantAnswer{fine("b"), answer("c", grantOpinion{Holds: true, Leader: "b", Replicas: all})}, false},
		{"one has lost its replica", all, []grantAnswer{fine("b"), answer("c", grantOpinion{Leader: "b", Replicas: all})}, false},
		{"they follow different leaders", all, []grantAnswer{fine("b"), answer("c", grantOpinion{Holds: true, Whole: true, Last: noted, Leader: "c", Replicas: all})}, false},
		{"they still follow the node itself", all, []grantAnswer{
			answer("b", grantOpinion{Holds: true, Whole: true, Last: noted, Leader: "a", Replicas: all}),
			answer("c", grantOpinion{Holds: true, Whole: true, Last: noted, Leader: "a", Replicas: all}),
		}, false},
		{"the one of two replicas is whole", []string{"a", "b"}, []grantAnswer{
			answer("b", grantOpinion{Holds: true, Whole: true, Last: noted + 1, Replicas: []string{"a", "b"}}),
		}, true},
		{"the one of two replicas has all that this node had", []string{"a", "b"}, []grantAnswer{
			answer("b", grantOpinion{Holds: true, Whole: true, Last: 9, Replicas: []string{"a", "b"}}),
		}, true},
		{"the one of two replicas is still being filled", []string{"a", "b"}, []grantAnswer{
			answer("b", grantOpinion{Holds: true, Whole: true, Last: 8, Replicas: []string{"a", "b"}}),
		}, false},
		{"a node that holds nothing has no say", all, []grantAnswer{fine("b"), fine("c"), answer("d", grantOpinion{})}, true},
		{"they have not met the node since they started", all, []grantAnswer{
			answer("b", grantOpinion{Holds: true, Whole: true, Last: noted, Leader: "b", Replicas: []string{"?xyz", "b", "c"}}),
			answer("c", grantOpinion{Holds: true, Whole: true, Last: noted, Leader: "b", Replicas: []string{"?xyz", "b", "c"}}),
		}, true},
		// One that was retired while the node was away was waited for, for ever.
		{"one that the node knew holds it no more", []string{"a", "x", "b"}, []grantAnswer{fine("b"), fine("c")}, true},
		{"one that the node knew holds it no more, and is there", []string{"a", "x", "b"}, []grantAnswer{fine("b"), fine("c"), answer("x", grantOpinion{})}, true},
		{"one that the node knew, and one other know of no third", []string{"a", "b", "x"}, []grantAnswer{
			answer("b", grantOpinion{Holds: true, Whole: true, Last: noted, Leader: "b", Replicas: []string{"a", "b"}}),
		}, false},
		{"one that the node knew is told by one of them", []string{"a", "x", "b"}, []grantAnswer{
			fine("b"),
			answer("c", grantOpinion{Holds: true, Whole: true, Last: noted, Leader: "b", Replicas: []string{"a", "b", "c", "x"}}),
		}, false},
		{"a second one is unknown to them", []string{"a", "b"}, []grantAnswer{
			answer("b", grantOpinion{Holds: true, Whole: true, Last: noted, Leader: "b", Replicas: []string{"?xyz", "?uvw", "b"}}),
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			known := replicaState{Replicas: c.known, Last: noted}
			if err := judgeGrant("a", 0, known, c.answers, nobody); (err == nil) != c.granted {
				t.Errorf("got %v, want it granted: %v", err, c.granted)
			}
		})
	}
	if err := judgeGrant("a", 0, replicaState{Replicas: []string{"a"}}, nil, nobody); !errors.Is(err, errOnlyReplica) {
		t.Errorf("the only replica: got %v, want %v", err, errOnlyReplica)
	}
}

// Two nodes that are damaged in different shards wait for each other, for ever: none
// of them answers before its own repair.
func TestJudgeGrant_TheOperatorHearsOfAMutualWait(t *testing.T) {
	known := replicaState{Replicas: []string{"a", "b", "c"}}
	answers := []grantAnswer{answer("c", grantOpinion{Holds: true, Whole: true, Leader: "c", Replicas: known.Replicas})}
	err := judgeGrant("a", 0, known, answers, func(node string) bool { return node == "b" })
	if !errors.Is(err, errMutual) {
		t.Errorf("got %v, want %v", err, errMutual)
	}
	if err := judgeGrant("a", 0, known, answers, nobody); err == nil || errors.Is(err, errMutual) {
		t.Errorf("got %v, want that b does not answer", err)
	}
}

func TestProbe_Mutual(t *testing.T) {
	damaged := func(shard int) []ReplicaHealth { return []ReplicaHealth{{Shard: shard, State: ReplicaDamaged}} }
	n := &Node{opts: Options{Node: "a"}, state: folderState{Shards: []replicaState{
		{Replicas: []string{"a", "b", "c"}}, {Replicas: []string{"b", "c"}},
	}}}
	for _, c := range []struct {
		name  string
		state MemberState
		sick  []ReplicaHealth
		want  bool
	}{
		{"it is up", MemberUp, nil, false},
		{"it is up, and is filled", MemberUp, damaged(0), false},
		{"it waits, in a shard that this node holds", MemberRepairing, damaged(0), true},
		{"it waits, in a shard of others", MemberRepairing, damaged(1), false},
		{"it waits, in a shard whose holders are not known", MemberRepairing, damaged(2), true},
		{"it has been allowed to go on", MemberRepairing, []ReplicaHealth{{Shard: 0, State: ReplicaRepairing}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &members{health: func() []ReplicaHealth { return nil }, all: map[string]Member{
				"b": {Name: "b", State: c.state, Health: c.sick, LastSeen: time.Now()},
			}}
			p := &probe{node: n, members: m}
			if got := p.mutual("b"); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
