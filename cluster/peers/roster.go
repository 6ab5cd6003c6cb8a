package peers

import (
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// forgetAfter is how long a node that is down stays among the members.
	forgetAfter = time.Hour
	// retiredMost bounds the former sessions remembered for one node.
	retiredMost = 16
	// calmAfter is how long after a reset the next one counts as the first.
	calmAfter = time.Minute
	// restPart is the part of the time of suspicion that two ends keep apart behind
	// the first reset, until both have given back what the other one had. It
	// doubles up to restMost.
	restPart = 8
	restMost = 30 * time.Second
	// rivalPart is the part of the time of suspicion that a process which is up must have
	// been silent for until another one of its name takes its place.
	rivalPart = 4
)

// roster knows the other nodes and how far the handshake with each is. It is a
// state machine: notices and time in, effects out; it does no I/O.
//
// Each end of a pair picks a connection number, greater than any before. The
// two numbers name the pair, so packets of a former one are recognized. A hello
// offers the sender's number and repeats the receiver's, as far as known; who
// sees its own number repeated knows that both ends know both, and is up. An
// end renews its number only when it gave the pair up by itself; when the other
// end did, the pair is a new one by the other's number.
type roster struct {
	node    string
	storage bool
	suspect time.Duration
	with    *pairing

	mu      sync.Mutex // Members reads along
	nodes   map[string]*peer
	lastID  uint64
	tickAt  time.Duration
	clashAt time.Duration // when two processes of one name were last reported
}

// peer is what the roster knows of one other node.
type peer struct {
	node     string
	session  uint64
	storage  bool
	since    time.Duration // when the session was first heard
	lastSeen time.Duration
	mine     uint64 // this end's connection number; 0: none offered yet
	theirs   uint64 // the other end's; 0: not known
	pair     *pair  // set with theirs
	up       bool
	left     uint64 // session that said goodbye
	leftAt   time.Duration
	retired  []uint64      // sessions that the present one replaced
	rival    uint64        // session that would replace the present one, which lives
	rivalAt  time.Duration // when it was first heard
	rest     time.Duration // how long the ends kept apart behind the last reset
	restEnd  time.Duration // until then no handshake goes on
}

// effect is one thing that the caller of the roster must do. Exactly one field
// is set, with why beside down.
type effect struct {
	open  *pair // find its packets
	up    *pair // report PeerUp
	down  *pair // forget it and, if it was up, report PeerDown
	why   string
	tell  *letter // send a notice
	clash *clash  // report two processes of one name
}

// letter is a notice to one node.
type letter struct {
	to     string
	notice notice
}

// clash is a second live process under one name.
type clash struct {
	node            string
	session, former uint64
}

// newRoster returns an empty roster. Connection numbers begin behind first.
func newRoster(node string, storage bool, suspect time.Duration, with *pairing, first uint64) *roster {
	return &roster{
		node: node, storage: storage, suspect: suspect, with: with,
		nodes: map[string]*peer{}, lastID: first, clashAt: -time.Hour,
	}
}

// beat returns the notice that is broadcast.
func (r *roster) beat(k kind) notice {
	return notice{
		kind: k, storage: r.storage, node: r.node, session: r.with.session,
		window: r.with.window, control: r.with.control,
	}
}

// hear takes a notice in.
func (r *roster) hear(n *notice, now time.Duration) []effect {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n.node == r.node {
		if n.session == r.with.session {
			return nil
		}
		return r.collide(n.node, n.session, r.with.session, now)
	}
	if n.echoSession != 0 && n.echoSession != r.with.session {
		return nil // meant for a former process of this name
	}
	nd := r.nodes[n.node]
	if nd == nil {
		if n.kind == kindGoodbye {
			return nil
		}
		nd = &peer{node: n.node, restEnd: -calmAfter}
		r.nodes[n.node] = nd
	}
	if n.session == nd.left && now-nd.leftAt < r.suspect {
		return nil
	}
	var out []effect
	if n.session != nd.session {
		switch {
		case slices.Contains(nd.retired, n.session):
			if now-nd.since < r.suspect {
				return nil // late words of a process that was replaced
			}
			return r.collide(n.node, n.session, nd.session, now)
		case n.kind == kindGoodbye:
			return nil
		case nd.up && now-nd.seen() < r.suspect/rivalPart:
			return r.withstand(nd, n.session, now)
		}
		out = r.replace(nd, n.session, now)
	}
	nd.lastSeen, nd.storage = now, n.storage
	switch n.kind {
	case kindHello, kindWelcome:
		return append(out, r.shake(nd, n, now)...)
	case kindGoodbye:
		nd.left, nd.leftAt, nd.retired = n.session, now, nil
		return append(out, nd.drop("left")...)
	default:
		if nd.mine == 0 {
			out = append(out, r.offer(nd)...)
		}
		return out
	}
}

// collide reports two live processes of one name, now and then.
func (r *roster) collide(node string, session, former uint64, now time.Duration) []effect {
	if now-r.clashAt < 5*r.suspect {
		return nil
	}
	r.clashAt = now
	return []effect{{clash: &clash{node: node, session: session, former: former}}}
}

// withstand keeps the pair of a process that lives when another one of its name appears.
// When both go on that is reported: at first it may be the last of the one that is seen.
func (r *roster) withstand(nd *peer, rival uint64, now time.Duration) []effect {
	if nd.rival != rival {
		nd.rival, nd.rivalAt = rival, now
	}
	if now-nd.rivalAt < r.suspect {
		return nil
	}
	return r.collide(nd.node, rival, nd.session, now)
}

// seen returns when something of the node was last heard.
func (nd *peer) seen() time.Duration {
	if nd.pair == nil {
		return nd.lastSeen
	}
	return max(nd.lastSeen, time.Duration(nd.pair.seen.Load()))
}

// replace makes session the node's present one.
func (r *roster) replace(nd *peer, session uint64, now time.Duration) []effect {
	former, wasUp := nd.session, nd.pair != nil
	out := nd.drop("a new process of the node appeared")
	if former != 0 && wasUp {
		nd.retired = append(nd.retired, former)
		if len(nd.retired) > retiredMost {
			nd.retired = nd.retired[1:]
		}
	}
	nd.session, nd.since = session, now
	nd.rest, nd.restEnd = 0, -calmAfter
	return out
}

// shake takes a hello or a welcome in.
func (r *roster) shake(nd *peer, n *notice, now time.Duration) []effect {
	if n.conn < nd.theirs || now < nd.restEnd {
		return nil // late words about a former pair, or it has to wait
	}
	var out []effect
	if nd.mine == 0 {
		r.lastID++
		nd.mine = r.lastID
	}
	if n.conn != nd.theirs {
		if nd.pair != nil {
			out = append(out, effect{down: nd.pair, why: "the other end began anew"})
			nd.up = false
		}
		nd.theirs = n.conn
		nd.pair = newPair(r.with, n, nd.mine, now)
		out = append(out, effect{open: nd.pair})
	}
	knows := n.echoSession == r.with.session && n.echo == nd.mine
	switch {
	case knows && !nd.up:
		nd.up = true
		out = append(out, r.tell(nd, kindWelcome), effect{up: nd.pair})
	case knows && n.kind == kindHello:
		out = append(out, r.tell(nd, kindWelcome))
	case !knows:
		out = append(out, r.tell(nd, kindHello))
	}
	return out
}

// offer begins the handshake.
func (r *roster) offer(nd *peer) []effect {
	r.lastID++
	nd.mine = r.lastID
	return []effect{r.tell(nd, kindHello)}
}

// tell returns the effect that sends nd a notice.
func (r *roster) tell(nd *peer, k kind) effect {
	n := r.beat(k)
	n.conn, n.echoSession, n.echo = nd.mine, nd.session, nd.theirs
	return effect{tell: &letter{to: nd.node, notice: n}}
}

// drop ends the pair, if there is one. The next one has a new number.
func (nd *peer) drop(why string) []effect {
	pr := nd.pair
	nd.pair, nd.mine, nd.theirs, nd.up = nil, 0, 0, false
	if pr == nil {
		return nil
	}
	return []effect{{down: pr, why: why}}
}

// reset ends a pair at both ends: the new number that is offered has the other one end
// its own. One that does not keep up would be ended again and again, and each
// time what it has in flight goes back: it is left alone longer each time.
func (r *roster) reset(pr *pair, now time.Duration) []effect {
	r.mu.Lock()
	defer r.mu.Unlock()
	nd := r.nodes[pr.node]
	if nd == nil || nd.pair != pr {
		return nil
	}
	if now-nd.restEnd >= calmAfter {
		nd.rest = 0
	}
	nd.rest = min(max(2*nd.rest, r.suspect/restPart), restMost)
	nd.restEnd = now + nd.rest
	return append(nd.drop("it was reset here"), r.offer(nd)...)
}

// tick suspects nodes that were silent and repeats hellos.
func (r *roster) tick(now time.Duration) []effect {
	r.mu.Lock()
	defer r.mu.Unlock()
	// When this process itself did not run, silence proves nothing yet.
	stalled := now-r.tickAt > r.suspect/2
	r.tickAt = now
	var out []effect
	for name, nd := range r.nodes {
		nd.lastSeen = nd.seen()
		silence := now - nd.lastSeen
		switch {
		case silence >= forgetAfter:
			out = append(out, nd.drop("silent")...)
			delete(r.nodes, name)
		case nd.mine == 0:
		case silence < r.suspect:
			if !nd.up {
				out = append(out, r.tell(nd, kindHello))
			}
		case stalled:
			nd.lastSeen = now
		default:
			out = append(out, nd.drop("silent")...)
			nd.retired = nil
		}
	}
	return out
}

// Member is another node, as this one sees it.
type Member struct {
	// Node is its name.
	Node string
	// Session is the number of its present or last process.
	Session uint64
	// Storage says that it holds logs.
	Storage bool
	// LastSeen is when something of it was last heard.
	LastSeen time.Time
	// Up says that PeerUp was reported, and PeerDown was not.
	Up bool
}

// members returns the nodes by name. The clock began at began.
func (r *roster) members(began time.Time) []Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Member, 0, len(r.nodes))
	for _, nd := range r.nodes {
		all = append(all, Member{
			Node: nd.node, Session: nd.session, Storage: nd.storage,
			LastSeen: began.Add(nd.seen()), Up: nd.up,
		})
	}
	slices.SortFunc(all, func(a, b Member) int { return strings.Compare(a.Node, b.Node) })
	return all
}
