package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
)

// A replica that is damaged is emptied, and filled by the others. What only it
// and one other held would be lost if that one were not whole, or were emptied as
// well. So the node asks all others that hold a replica of the shard, while its own
// embedded server stores nothing, and goes on when each of them says: mine is
// whole, it is up to date, and we follow the same leader. With three replicas or
// more such a leader was elected without this node, so all that was ever
// confirmed is with each of the others; of two replicas each holds all that was
// confirmed, once it was filled. None may hold less than this one is known to have
// held. A node that is being repaired says no, so there is one at a time without a
// lock, and nobody needs to remember what was granted. Two that wait for each other
// wait for the operator.

// grantSubject is where a node asks.
const grantSubject = "selvedge.grant"

// errOnlyReplica says that there is nobody to repair a replica from.
var errOnlyReplica = errors.New("there is no other replica")

// errNotWhole says that another replica cannot vouch for what is in a damaged one.
var errNotWhole = errors.New("is not whole and up to date")

// errMutual says that a repair waits for a node whose own repair waits for this one.
var errMutual = errors.New("waits for this node's repair itself, so neither can go on: start one of the two " +
	"once with accept-loss, and the other one too if those that are up are no majority; they fill them")

// grantRequest asks whether a node may empty its replicas of shards.
type grantRequest struct {
	Node   string `json:"node"`
	Shards []int  `json:"shards"`
	// Reach asks for Reach as well, which takes the reading of files.
	Reach bool `json:"reach,omitempty"`
}

// grantAnswer is what a node says.
type grantAnswer struct {
	Node   string               `json:"node"`
	Shards map[int]grantOpinion `json:"shards"`
}

// grantOpinion is what a node says of a shard.
type grantOpinion struct {
	Holds    bool     `json:"holds"`              // it has a replica
	Whole    bool     `json:"whole"`              // which is whole and up to date
	Last     uint64   `json:"last,omitempty"`     // up to where it goes
	Leader   string   `json:"leader,omitempty"`   // whom it follows
	Replicas []string `json:"replicas,omitempty"` // who holds one
	// Sound says that it is whole, and was filled once; Current that it has all that it
	// knows to be decided.
	Sound   bool `json:"sound,omitempty"`
	Current bool `json:"current,omitempty"`
	// Reach is the last record that it knows of, decided or not, if that was asked for
	// and nobody leads; 0: not known.
	Reach uint64 `json:"reach,omitempty"`
}

// askGrants asks all nodes once. It has the answers judged as they come, until there
// is nothing against it, or no further answer can help. It returns nil, or the first shard
// that may not be emptied, and why.
func askGrants(
	ctx context.Context, nc *nats.Conn, req grantRequest, judge func([]grantAnswer) (shard int, why error),
) (shard int, why error) {
	if shard, why = judge(nil); why == nil {
		return shard, nil
	}
	var answers []grantAnswer
	err := askAll(ctx, nc, grantSubject, req, func(a grantAnswer) (enough bool) {
		answers = append(answers, a)
		shard, why = judge(answers)
		return why == nil || errors.Is(why, errLone)
	})
	if err != nil {
		return req.Shards[0], err
	}
	return shard, why
}

// listenGrants answers the nodes that ask, until the connection ends.
func (n *Node) listenGrants(ctx context.Context) error {
	return n.store.hear(grantSubject, "the questions of damaged nodes", func(m *nats.Msg) {
		var req grantRequest
		if json.Unmarshal(m.Data, &req) != nil || m.Reply == "" || req.Node == n.opts.Node {
			return
		}
		answer := grantAnswer{Node: n.opts.Node, Shards: make(map[int]grantOpinion)}
		for _, shard := range req.Shards {
			if shard >= 0 && shard < len(n.logs) {
				answer.Shards[shard] = n.opinion(ctx, shard, req.Reach)
			}
		}
		if b, err := json.Marshal(answer); err == nil {
			_ = m.Respond(b) // a lost answer is asked for again
		}
	})
}

// opinion is what this node says of a shard to one that wants to empty its
// replica.
func (n *Node) opinion(ctx context.Context, shard int, reach bool) grantOpinion {
	stream := n.logs[shard].stream
	s := n.ShardStats(shard)
	o := grantOpinion{Leader: s.Leader, Last: s.Last}
	for _, r := range s.Replicas {
		o.Replicas = append(o.Replicas, r.Name)
	}
	_, o.Holds = n.store.local(stream)
	o.Sound = o.Holds && n.replicas.whole(shard) && n.replicas.full(shard)
	o.Current = o.Holds && n.server.srv.JetStreamIsStreamCurrent(account, stream)
	o.Whole = o.Sound && (len(o.Replicas) <= 2 || s.Leader != "" && o.Current)
	if reach && o.Holds && s.Leader == "" {
		o.Reach, _ = n.reach(ctx, shard)
	}
	return o
}

// judgeGrant says whether a node may empty its replica of a shard: nil, or what
// it waits for. known is what the node knew of it; mutual says of another node that
// its own repair waits for this one.
func judgeGrant(self string, shard int, known replicaState, answers []grantAnswer, mutual func(node string) bool) error {
	replicas, opinions := knownReplicas(self, shard, known.Replicas, answers)
	if len(replicas) == 0 {
		if len(known.Replicas) > 0 {
			return errOnlyReplica
		}
		return errors.New("no other node that holds a replica answers")
	}
	leader := ""
	for _, name := range replicas {
		o, answered := opinions[name]
		switch {
		case !answered && mutual(name):
			return fmt.Errorf("node %s %w", name, errMutual)
		case !answered:
			return fmt.Errorf("node %s does not answer", name)
		case !o.Holds || !o.Whole:
			return fmt.Errorf("the replica of node %s %w", name, errNotWhole)
		case o.Last < known.Last:
			return fmt.Errorf("the replica of node %s ends at %d, and this one had %d", name, o.Last, known.Last)
		case len(replicas) == 1:
			return nil // of two replicas
		case o.Leader == self || leader != "" && o.Leader != leader:
			return fmt.Errorf("node %s follows another leader", name)
		}
		leader = o.Leader
	}
	return nil
}

// knownReplicas returns the other nodes that hold a replica, by what this node knew
// and what they say, and their opinions. What it knew may be of long ago: one that was
// retired meanwhile holds nothing, and will never answer. Where the others are two or more by
// what they say themselves, that counts alone, since none of those may be missing: they
// follow a leader that was elected by them, as they are now.
func knownReplicas(self string, shard int, known []string, answers []grantAnswer) ([]string, map[string]grantOpinion) {
	var told []string
	opinions := make(map[string]grantOpinion)
	for _, a := range answers {
		o, ok := a.Shards[shard]
		if !ok {
			continue
		}
		opinions[a.Node] = o
		if o.Holds {
			told = append(told, a.Node)
		}
		told = append(told, strangers(self, o.Replicas)...)
	}
	if told = allBut(self, told); len(told) < 2 {
		told = allBut(self, append(told, known...))
	}
	return told, opinions
}

// allBut returns the nodes but this one, each once.
func allBut(self string, names []string) []string {
	names = slices.DeleteFunc(names, func(name string) bool { return name == self })
	slices.Sort(names)
	return slices.Compact(names)
}

// strangers leaves out the name that a node has made up for this one, because it
// has not met it since it started.
func strangers(self string, replicas []string) []string {
	if slices.Contains(replicas, self) {
		return replicas
	}
	var list []string
	left := false
	for _, name := range replicas {
		if strings.HasPrefix(name, strangerPrefix) && !left {
			left = true
			continue
		}
		list = append(list, name)
	}
	return list
}
