package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
)

// Times of the registrar.
const (
	registryEvery = 5 * time.Second       // between two looks, if nobody tells of a change
	registrySoon  = 50 * time.Millisecond // between the first ones, until the registry answers
	registerFor   = 3 * time.Second       // to enter the registry, before the next look
	seenStep      = 10 * time.Second      // a silence that ends the one noted before is not a new one
)

// watchRegistry enters this node into the registry, keeps the copy of it, and stops
// the node if it was retired, until ctx ends. Nothing waits for it: the registry may
// answer late or never.
func (n *Node) watchRegistry(ctx context.Context) {
	entered := n.opts.FrontOnly
	wait := registrySoon
	for {
		entered = entered || n.enter(ctx)
		err := n.registry.refresh(ctx)
		if err == nil && entered {
			wait = registryEvery
			n.checkEntry()
			n.noteSilence(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-n.registry.wake:
		case <-time.After(wait):
			wait = min(2*wait, registryEvery)
		}
	}
}

// listenRegistry has the registrar look when an entry was changed.
func (n *Node) listenRegistry() error {
	return n.store.hear(registrySubject, "the changes of the registry", func(*nats.Msg) { nudge(n.registry.wake) })
}

// enter writes this node into the registry, unless it was retired or another process has
// its name: then the node fails. It returns true when there is nothing left to do.
func (n *Node) enter(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, registerFor)
	defer cancel()
	err := n.ownName(ctx, n.store)
	if err == nil {
		err = n.registry.change(ctx, n.opts.Node, func(e *Entry) error {
			s := standing{Entry: *e, Votes: true}
			if e.State == EntryRetiring {
				var err error
				if s, err = askStanding(ctx, n.store.nc, n.opts.Node); err != nil {
					return err
				}
				s.Entry = *e
			}
			if err := s.refusal(n.marker.Created); err != nil {
				return err
			}
			n.fillEntry(e)
			return nil
		})
	}
	switch {
	case errors.Is(err, ErrRetired), errors.Is(err, ErrNameTaken):
		n.refuse(err)
		return true
	case err != nil:
		n.opts.Log.Debug().Err(err).Msg("registry is tried again")
		return false
	}
	return true
}

// fillEntry makes an entry that of this process, which is a member.
func (n *Node) fillEntry(e *Entry) {
	if e.FirstSeen.IsZero() {
		e.FirstSeen = n.started
	}
	if e.State == EntryRetiring {
		n.opts.Log.Warn().Str("by", e.RetiredBy).Msg("retirement is cancelled: the node is back")
		e.RetiredBy, e.RetiredAt = "", time.Time{}
	}
	e.State, e.Started, e.Session, e.Version = EntryMember, n.started, n.session, n.opts.Version
	e.Folder, e.Address = n.marker.Created, n.opts.Advertise
	if e.Address == "" {
		e.Address = n.ClusterAddr()
	}
}

// checkEntry ends the node if the registry says that it was retired, or that another
// process has its name: both can come to be while it is cut off.
func (n *Node) checkEntry() {
	e, ok := n.registry.get(n.opts.Node)
	if !ok || n.opts.FrontOnly {
		return
	}
	s := standing{Entry: e, Votes: true}
	why := s.refusal(n.marker.Created)
	if why == nil && e.Session != n.session {
		why = n.nameTaken()
	}
	if why != nil {
		n.refuse(why)
	}
}

// noteSilence notes of nodes that fell silent when they were heard last. The leader
// of the cluster does it, once for each silence.
func (n *Node) noteSilence(ctx context.Context) {
	if !n.opts.clustered() || !n.server.srv.JetStreamIsLeader() {
		return
	}
	for _, m := range n.Members() {
		e, ok := n.registry.get(m.Name)
		silent := m.State == MemberLost || m.State == MemberLeft
		if !ok || !silent || m.LastSeen.Sub(e.LastHeard()) < seenStep {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, tryTimeout)
		err := n.registry.change(ctx, m.Name, func(e *Entry) error {
			if e.LastHeard().Before(m.LastSeen) {
				e.LastSeen = m.LastSeen.UTC().Truncate(time.Second)
			}
			return nil
		})
		cancel()
		if err != nil {
			n.opts.Log.Debug().Err(err).Str("of", m.Name).Msg("silence not noted")
		}
	}
}

// Registry returns what this node knows of the nodes that store and belong to the
// cluster, or did, by name: a copy that is some seconds old at most while the registry
// answers, and empty until it did.
func (n *Node) Registry() []Entry { return n.registry.list() }

// absent returns how many nodes should be up by the registry and are not.
func (n *Node) absent() int {
	up := make(map[string]bool)
	for _, m := range n.Members() {
		up[m.Name] = m.State == MemberUp
	}
	absent := 0
	for _, e := range n.registry.list() {
		if e.State != EntryRetired && !up[e.Node] {
			absent++
		}
	}
	return absent
}
