package cluster

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestStanding_Refusal(t *testing.T) {
	made, other := time.Unix(1000, 5).UTC(), time.Unix(2000, 0).UTC()
	for _, c := range []struct {
		name   string
		entry  Entry
		votes  bool
		folder time.Time
		want   string // in the error; empty: none
	}{
		{"a node that nobody knows may run", Entry{Node: "c"}, false, made, ""},
		{"a member may run", Entry{Node: "c", State: EntryMember, Folder: made}, true, made, ""},
		{"a retired node may not", Entry{Node: "c", State: EntryRetired, RetiredBy: "ann", RetiredFolder: made}, false, made, "retired by ann"},
		{"nor with another folder", Entry{Node: "c", State: EntryRetired, RetiredFolder: made}, false, other, "retire --undo c"},
		{"nor while it still votes", Entry{Node: "c", State: EntryRetired, RetiredFolder: made}, true, made, "stale"},
		{"one that is being retired may while it votes", Entry{Node: "c", State: EntryRetiring, RetiredFolder: other}, true, made, ""},
		{"and not any more when it does not", Entry{Node: "c", State: EntryRetiring, RetiredFolder: other}, false, made, "retired"},
		{"a name that may be used again does not go with its old folder", Entry{Node: "c", State: EntryMember, RetiredFolder: made}, false, made, "empty data folder"},
		{"it goes with a new one", Entry{Node: "c", State: EntryMember, RetiredFolder: made}, false, other, ""},
		{"a folder of no known age is no retired one", Entry{Node: "c", State: EntryMember}, false, time.Time{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := standing{Entry: c.entry, Votes: c.votes}
			err := s.refusal(c.folder)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("got %v, want no refusal", err)
			case c.want != "" && (!errors.Is(err, ErrRetired) || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %v: %s", err, ErrRetired, c.want)
			}
		})
	}
}

// The only replica was looked for until the time for elections was over.
func TestJudgeShard_OfTheOnlyReplicaWaitsForNothing(t *testing.T) {
	nothing := func(node string) grantAnswer { return grantAnswer{Node: node, Shards: map[int]grantOpinion{0: {}}} }
	all := []grantAnswer{nothing("a"), nothing("b")}
	if err := judgeShard("c", 0, all[:1], 2); err == nil || errors.Is(err, errLone) {
		t.Errorf("one of two has answered: got %v, want to wait", err)
	}
	if err := judgeShard("c", 0, all, 2); !errors.Is(err, errLone) {
		t.Errorf("both have answered: got %v, want %v", err, errLone)
	}
	elects := grantAnswer{Node: "a", Shards: map[int]grantOpinion{0: {Holds: true, Replicas: []string{"a", "c"}}, 1: {}}}
	if shard, err := judgeWithout("c", []int{0, 1}, []grantAnswer{elects, nothing("b")}, 2); shard != 1 || !errors.Is(err, errLone) {
		t.Errorf("another shard may wait: got shard %d, %v, want shard 1, %v", shard, err, errLone)
	}
	if err := judgeShard("c", 0, nil, 0); err == nil || errors.Is(err, errLone) {
		t.Errorf("nobody is known to be up: got %v, want to wait", err)
	}
}

func TestMajorityWithout(t *testing.T) {
	voters := func(state string) []peer {
		var set []peer
		for i, s := range strings.Split(state, "") {
			set = append(set, peer{id: raftID(string(rune('a' + i))), online: s == "+"})
		}
		return set
	}
	for _, c := range []struct {
		name, state string // of a, b, c …: + there, - not
		want        bool
	}{
		{"two of three are left", "-++", true},
		{"one of three is left", "--+", false},
		{"three of five are left", "--+++", true},
		{"two of five are left", "---++", false},
		{"of four, two are left", "--++", true},
		{"no voters are known", "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := majorityWithout(voters(c.state), "a")
			if (err == nil) != c.want || err != nil && !errors.Is(err, ErrRetirement) {
				t.Errorf("got %v, want a majority: %v", err, c.want)
			}
		})
	}
}

func TestJudgeShard(t *testing.T) {
	holds := func(node, leader string, whole bool, replicas ...string) grantAnswer {
		return grantAnswer{Node: node, Shards: map[int]grantOpinion{0: {Holds: true, Whole: whole, Leader: leader, Replicas: replicas}}}
	}
	abc := []string{"a", "b", "c"}
	for _, c := range []struct {
		name    string
		answers []grantAnswer
		want    string // in the reason; empty: it can do without c
	}{
		{"nobody answers", nil, "no other node"},
		{"the others are whole", []grantAnswer{holds("a", "a", true, abc...), holds("b", "a", true, abc...)}, ""},
		{"a server has not met the node", []grantAnswer{holds("a", "a", true, "a", "b", "?"+raftID("c")), holds("b", "a", true, "a", "b", "?"+raftID("c"))}, ""},
		{"one of the others is missing", []grantAnswer{holds("a", "a", true, abc...)}, "1 of its 2 other"},
		{"one of the others is not whole", []grantAnswer{holds("a", "a", true, abc...), holds("b", "a", false, abc...)}, "1 of its 2 other"},
		{"there is no leader", []grantAnswer{holds("a", "", true, abc...), holds("b", "", true, abc...)}, "0 of its 2 other"},
		{"it leads itself", []grantAnswer{holds("a", "c", true, abc...), holds("b", "c", true, abc...)}, "0 of its 2 other"},
		{"they follow different leaders", []grantAnswer{holds("a", "a", true, abc...), holds("b", "b", true, abc...)}, "another leader"},
		{"of two, the other one is whole", []grantAnswer{holds("a", "", true, "a", "c")}, ""},
		{"of two, the other one was never filled", []grantAnswer{holds("a", "", false, "a", "c")}, "0 of its 1 other"},
		{"of five, three are whole", []grantAnswer{
			holds("a", "a", true, "a", "b", "c", "d", "e"), holds("b", "a", true, "a", "b", "c", "d", "e"), holds("d", "a", true, "a", "b", "c", "d", "e"),
		}, ""},
		{"it has no replica, whatever the others are", []grantAnswer{holds("a", "a", true, "a", "b", "d")}, ""},
		{"the only replica is there", []grantAnswer{{Node: "a", Shards: map[int]grantOpinion{0: {}}}}, "no other node"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := judgeShard("c", 0, c.answers, len(c.answers)+1)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
