package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

// Times of the members' list.
const (
	statusEvery  = time.Second
	memberLost   = 3500 * time.Millisecond // silent for longer: lost
	memberForget = time.Hour               // lost or left for longer: not shown any more
)

// statusSubject carries what every node says of itself.
const statusSubject = "selvedge.status"

// MemberState says how a node was last seen.
type MemberState string

// The states of a member.
const (
	MemberUp   MemberState = "up"
	MemberLost MemberState = "lost" // silent without a goodbye
	MemberLeft MemberState = "left" // stopped in order
	// MemberRepairing: it does not serve, since replicas of it are damaged.
	MemberRepairing MemberState = "repairing"
)

// Member is what this node knows of a node of the cluster, itself included.
type Member struct {
	Name     string      `json:"name"`
	Session  uint64      `json:"session"`
	State    MemberState `json:"state"`
	Storage  bool        `json:"storage"`
	Version  string      `json:"version"`
	LastSeen time.Time   `json:"last_seen"`
	// Status is what that node's SetStatus was last given.
	Status []byte `json:"status,omitempty"`
	// Health are its replicas that are not whole.
	Health []ReplicaHealth `json:"health,omitempty"`
	// Ended is why its process ends or has ended, if that was not told to.
	Ended string `json:"ended,omitempty"`
}

// mostEnded is how much of the reason of an end the others are told, in octets.
const mostEnded = 500

// members keeps the list: each node announces itself when its status is set, when it
// hears of a new one, and a second after the last time.
type members struct {
	nc   *nats.Conn
	log  zerolog.Logger
	sub  *nats.Subscription
	wake chan struct{}
	// health tells the replicas of this node that are not whole.
	health func() []ReplicaHealth

	mu   sync.Mutex
	self Member
	all  map[string]Member
	// former are those of all that another process of their name has replaced.
	former map[string]Member
}

// newMembers begins to listen to the other nodes.
func newMembers(nc *nats.Conn, self Member, health func() []ReplicaHealth, log zerolog.Logger) (*members, error) {
	m := &members{
		nc: nc, log: log, wake: make(chan struct{}, 1), health: health, self: self,
		all: make(map[string]Member), former: make(map[string]Member),
	}
	sub, err := nc.Subscribe(statusSubject, m.hear)
	if err != nil {
		return nil, fmt.Errorf("cluster: subscribe to the members' status: %w", err)
	}
	m.sub = sub
	return m, nil
}

// SetStatus sets what the other nodes see as this node's Status, and has it announced at
// once: what a node that is killed said last is what is known of it. It must be small.
func (n *Node) SetStatus(status []byte) {
	n.members.mu.Lock()
	n.members.self.Status = slices.Clone(status)
	n.members.mu.Unlock()
	nudge(n.members.wake)
}

// Members returns the nodes of the cluster that this node has heard of, by name,
// itself included.
func (n *Node) Members() []Member { return n.members.list(time.Now()) }

// list returns the members with the states that they have at now.
func (m *members) list(now time.Time) []Member {
	health := m.health()
	m.mu.Lock()
	defer m.mu.Unlock()
	self := m.self
	self.LastSeen, self.Health = now, health
	list := make([]Member, 0, 1+len(m.all))
	list = append(list, self)
	for name, o := range m.all {
		silent := now.Sub(o.LastSeen)
		switch {
		case silent > memberForget:
			delete(m.all, name)
			delete(m.former, name)
			continue
		case silent > memberLost && o.State != MemberLeft:
			o.State = MemberLost
		}
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// hear takes another node's announcement.
func (m *members) hear(msg *nats.Msg) {
	var o Member
	if err := json.Unmarshal(msg.Data, &o); err != nil || o.Name == "" {
		return // of another version: it is not shown
	}
	o.LastSeen = time.Now()
	m.mu.Lock()
	if o.Name == m.self.Name {
		m.mu.Unlock()
		return
	}
	old, known := m.all[o.Name]
	stale := known && old.Session == o.Session && old.State == MemberLeft
	if known && old.Session != o.Session {
		m.former[o.Name] = old
	}
	if !stale {
		m.all[o.Name] = o
	}
	m.mu.Unlock()
	if !stale && o.Ended != "" && (old.Session != o.Session || old.Ended == "") {
		m.log.Warn().Str("of", o.Name).Str("reason", o.Ended).Msg("another node cannot go on, and ends")
	}
	if !known || old.Session != o.Session {
		nudge(m.wake)
	}
}

// silence returns how long ago a process of a node was heard, other than the one of a
// session, that has not left.
func (m *members) silence(node string, session uint64) (silent time.Duration, heard bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, list := range []map[string]Member{m.former, m.all} {
		if o, ok := list[node]; ok && o.Session != session && o.State != MemberLeft {
			silent, heard = time.Since(o.LastSeen), true
		}
	}
	return silent, heard
}

// announce tells the others about this node until ctx ends.
func (m *members) announce(ctx context.Context) {
	t := time.NewTicker(statusEvery)
	defer t.Stop()
	for {
		m.publish()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-m.wake:
			t.Reset(statusEvery)
		}
	}
}

// publish sends one announcement; a lost one is made good by the next.
func (m *members) publish() {
	m.mu.Lock()
	self := m.self
	m.mu.Unlock()
	self.Health = m.health()
	b, err := json.Marshal(self)
	if err == nil {
		_ = m.nc.Publish(statusSubject, b)
	}
}

// met says whether so many other nodes were heard: then they hear this one, too.
func (m *members) met(others int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.all) >= max(others, 1)
}

// end tells the others why this node cannot go on.
func (m *members) end(why error) {
	text := why.Error()
	m.mu.Lock()
	m.self.Ended = strings.ToValidUTF8(text[:min(len(text), mostEnded)], "")
	m.mu.Unlock()
	m.publish()
	_ = m.nc.FlushTimeout(tryTimeout) // who does not hear it sees a silence
}

// leave says goodbye.
func (m *members) leave() {
	m.mu.Lock()
	m.self.State = MemberLeft
	m.mu.Unlock()
	m.publish()
	_ = m.nc.FlushTimeout(tryTimeout) // a goodbye that is not heard is a silence
}

func (m *members) close() { _ = m.sub.Unsubscribe() }
