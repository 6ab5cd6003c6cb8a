package shard

import (
	"slices"

	"github.com/selvedge-mq/selvedge/routing"
)

// LaneID names a stream of requests: a node's session and one of its lanes.
type LaneID struct {
	Session uint64
	Lane    byte
}

// Answer is the end of a request that did not go well.
type Answer struct {
	Number uint64
	Code   routing.Code
}

// lane is what is remembered of a stream of requests, so that a repetition is
// known as one: the next number, and the answers that the node may not have seen.
type lane struct {
	node    string
	next    uint64
	answers []Answer
	home    uint64 // sequence of the record with its last state
	size    uint32 // of that entry

	// Soft: what is composed already.
	composed  uint64
	pending   []Answer // answers with those composed
	confirmed uint64   // what the node was told
	done      uint64   // what was applied in this epoch, logged or not
	touched   bool     // it is in open.lanes
}

// OpenLane begins a node's lane in this epoch. lowest is the first request whose
// end the node does not know; everything below it is done. It returns the number
// from which the node has to send, and confirms what is done already.
func (s *Shard) OpenLane(id LaneID, node string, lowest uint64) uint64 {
	l := s.lanes[id]
	if l == nil {
		l = &lane{}
		s.lanes[id] = l
	}
	s.attempts.reported[id.Session] = true
	l.node = node
	l.composed = max(l.next, lowest, l.composed)
	l.confirmed = lowest
	l.forgetBelow(lowest)
	s.confirm(id, l, max(l.next, l.done))
	return l.composed
}

// Expects returns the number of the next request of a lane that was opened.
func (s *Shard) Expects(id LaneID) uint64 {
	if l := s.lanes[id]; l != nil {
		return l.composed
	}
	return 0
}

// Known tells that the node knows the ends of all requests below lowest.
func (s *Shard) Known(id LaneID, lowest uint64) {
	if l := s.lanes[id]; l != nil {
		l.forgetBelow(lowest)
	}
}

func (l *lane) forgetBelow(lowest uint64) {
	for len(l.pending) > 0 && l.pending[0].Number < lowest {
		l.pending = l.pending[1:]
	}
}

// confirm tells the node that everything below next is done.
func (s *Shard) confirm(id LaneID, l *lane, next uint64) {
	l.done = max(l.done, next)
	if next <= l.confirmed {
		return
	}
	c := Confirm{Lane: id, Next: next}
	for _, a := range l.pending {
		if a.Number >= l.confirmed && a.Number < next {
			c.Answers = append(c.Answers, a)
		}
	}
	l.confirmed = next
	s.fx.Confirms = append(s.fx.Confirms, c)
}

// Owners returns the nodes of all sessions that are remembered here.
func (s *Shard) Owners() map[uint64]string {
	out := map[uint64]string{}
	for id, l := range s.lanes {
		if l.node != "" { // else another shard's dead letters
			out[id.Session] = l.node
		}
	}
	for tx, d := range s.decisions {
		if !d.commit {
			out[tx.Session] = d.node
		}
	}
	return out
}

// Refused reports whether a request that was taken has an answer: it did not go well.
func (s *Shard) Refused(id LaneID, number uint64) bool {
	l := s.lanes[id]
	return l != nil && slices.ContainsFunc(l.pending, func(a Answer) bool { return a.Number == number })
}

// Done reports whether a request is in the log and went well.
func (s *Shard) Done(id LaneID, number uint64) bool {
	l := s.lanes[id]
	return l != nil && number < l.next && !s.Refused(id, number)
}

// Sessions returns the sessions of a node that are remembered, by their lanes or
// by what was given up of them, but for the given one.
func (s *Shard) Sessions(node string, except uint64) []uint64 {
	var out []uint64
	for id, l := range s.lanes {
		if l.node == node && id.Session != except && !slices.Contains(out, id.Session) {
			out = append(out, id.Session)
		}
	}
	for tx, d := range s.decisions {
		if d.node == node && !d.commit && tx.Session != except && !slices.Contains(out, tx.Session) {
			out = append(out, tx.Session)
		}
	}
	slices.Sort(out)
	return out
}
