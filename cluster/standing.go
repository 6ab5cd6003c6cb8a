package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// A node that was retired while it was away knows nothing of it, and its replicas
// are those of another time. If its embedded server began with them, it would enter
// the raft groups again sooner or later. So a node that comes back with a folder asks the
// others first how it stands, through a server that stores nothing. If nobody
// answers in time it starts: a whole cluster may be starting, and the registry says it
// again when it can be read.

// standingSubject is where a node asks.
const standingSubject = "selvedge.standing"

// Times of the question.
const (
	standingAsk      = 100 * time.Millisecond // for an answer, before it is asked again
	standingPatience = time.Second            // for the answer of anybody
)

// ErrRetired says that a node, or its folder, was retired from its cluster.
var ErrRetired = errors.New("cluster: this node was retired")

// errRetiredFolder says that the name may be used again, and the folder not.
var errRetiredFolder = fmt.Errorf("%w together with its data folder, which is stale: start it under another name, or, "+
	"once that was undone by \"selvedge retire --undo\", with an empty data folder", ErrRetired)

// standingRequest asks how a node stands.
type standingRequest struct {
	Node string `json:"node"`
}

// standing is how a node stands.
type standing struct {
	Entry Entry `json:"entry"`
	// Votes says that it belongs to the cluster's own group.
	Votes bool `json:"votes"`
	// Heard says that who answers has heard it lately.
	Heard bool `json:"heard"`
}

// refusal returns why a node with that folder must not run, nil if it may. A node
// that is being retired may, as long as it votes: the retirement has not begun to take
// effect, and the cluster may need the node.
func (s *standing) refusal(folder time.Time) error {
	e := &s.Entry
	switch {
	case e.State == EntryRetired, e.State == EntryRetiring && !s.Votes:
		return fmt.Errorf("%w by %s at %s, and what its data folder holds is stale: start it under another name, or run "+
			"\"selvedge retire --undo %s\" at the cluster and start it with an empty data folder",
			ErrRetired, e.RetiredBy, e.RetiredAt.Format(time.RFC3339), e.Node)
	case !folder.IsZero() && e.RetiredFolder.Equal(folder):
		return errRetiredFolder
	}
	return nil
}

// listenStanding answers the nodes that ask, until the connection ends.
func (n *Node) listenStanding() error {
	return n.store.hear(standingSubject, "the questions of nodes that come back", func(m *nats.Msg) {
		var req standingRequest
		if json.Unmarshal(m.Data, &req) != nil || m.Reply == "" || req.Node == n.opts.Node || !n.registry.known() {
			return
		}
		s := standing{Heard: n.mayMiss(req.Node) != nil}
		s.Entry, _ = n.registry.get(req.Node)
		var known bool
		if s.Votes, known = n.votes(req.Node); !known {
			return
		}
		if b, err := json.Marshal(s); err == nil {
			_ = m.Respond(b) // a lost answer is asked for again
		}
	})
}

// askStanding asks the other nodes once how a node stands.
func askStanding(ctx context.Context, nc *nats.Conn, node string) (standing, error) {
	var s standing
	body, err := encode(standingRequest{Node: node})
	if err != nil {
		return s, err
	}
	ctx, cancel := context.WithTimeout(ctx, standingAsk)
	defer cancel()
	m, err := nc.RequestWithContext(ctx, standingSubject, body)
	if err != nil {
		return s, fmt.Errorf("cluster: ask how %s stands: %w", node, err)
	}
	if err := json.Unmarshal(m.Data, &s); err != nil {
		return s, fmt.Errorf("cluster: ask how %s stands: %w", node, err)
	}
	return s, nil
}

// checkIn refuses, before it stores anything, a node whose name another process has, and
// one that was retired while it was away.
func (n *Node) checkIn(ctx context.Context) error {
	if !n.opts.clustered() {
		return nil
	}
	p, err := n.openProbe(ctx)
	if err != nil {
		return err
	}
	defer p.close()
	if met, err := p.meet(ctx); !met || err != nil {
		return err // a whole cluster may be starting
	}
	if err := n.ownName(ctx, &store{srv: p.server.srv, nc: p.nc}); err != nil {
		return err
	}
	if n.opts.FrontOnly || !exists(filepath.Join(groupsDir(n.opts.Dir), "_meta_")) {
		return nil // it brings nothing that could be stale
	}
	return n.checkStanding(ctx, p)
}

// Times of the first meeting.
const (
	meetDial     = 300 * time.Millisecond // for a connection to a seed
	meetPatience = 5 * time.Second        // for those that can be connected to
)

// meet waits for the first connection with another node, and reports whether there is
// one. It waits no longer when no seed answers, or one refuses this node.
func (p *probe) meet(ctx context.Context) (met bool, err error) {
	addrs, err := seedAddrs(ctx, p.node.opts.Seeds, p.node.opts.own(), net.DefaultResolver.LookupHost)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, meetPatience)
	defer cancel()
	if !anybody(ctx, addrs) {
		return false, nil
	}
	for p.server.srv.NumRoutes() == 0 && !p.server.log.refused.Load() && pause(ctx, readyEvery) == nil {
		if err := p.server.log.err(); err != nil {
			return false, err
		}
	}
	return p.server.srv.NumRoutes() > 0, nil
}

// anybody says whether one of the addresses answers, as soon as that is known.
func anybody(ctx context.Context, addrs []string) bool {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	answers := make(chan bool, len(addrs))
	for _, a := range addrs {
		wg.Go(func() { answers <- greets(ctx, a) })
	}
	for range addrs {
		if <-answers {
			return true
		}
	}
	return false
}

// greets says whether somebody at an address speaks first, as a node does.
func greets(ctx context.Context, addr string) bool {
	c, err := (&net.Dialer{Timeout: meetDial}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	defer func() { _ = c.Close() }() // only read
	_, err = c.Read(make([]byte, 1))
	return err == nil
}

// checkStanding refuses a node that was retired while it was away.
func (n *Node) checkStanding(ctx context.Context, p *probe) error {
	began := time.Now()
	for {
		s, err := askStanding(ctx, p.nc, n.opts.Node)
		if err == nil {
			why := s.refusal(n.marker.Created)
			if why != nil {
				n.note(noteRetired)
			}
			return why
		}
		if serr := errors.Join(ctx.Err(), p.server.log.err()); serr != nil {
			return serr
		}
		if time.Since(began) > standingPatience || p.server.srv.NumRoutes() == 0 {
			return nil
		}
		if err := pause(ctx, readyEvery); err != nil {
			return err
		}
	}
}

// refuse ends the node, which must not go on. A retirement is noted in the folder: then
// the next start needs nobody to be refused.
func (n *Node) refuse(why error) {
	if errors.Is(why, ErrRetired) {
		n.failNoting(noteRetired, why)
		return
	}
	n.fail(why)
}

func noteRetired(m *Marker) { m.Retired = time.Now().UTC() }
