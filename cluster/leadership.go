package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/selvedge-mq/selvedge/internal/mailbox"
	"github.com/selvedge-mq/selvedge/routing/engine"
)

// ErrNotLeader says that a node cannot resign what it does not lead.
var ErrNotLeader = errors.New("cluster: this node does not lead the shard")

// Times of the looks at who leads. A look is a few calls within the process. The
// server tells an election a moment before its winner takes appends, so the looks
// that follow are close together.
const (
	leadershipEvery = 25 * time.Millisecond
	leadershipAlone = 4 * leadershipEvery // by a node that nobody takes the leadership from
	leadershipSoon  = time.Millisecond
	leadershipLooks = 25 // close ones after an election
)

// electedSubject is where the server tells in the account who was elected. It is
// a hint, which may be lost: what counts is seen by looking.
const electedSubject = "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.*"

// leadership passes on who leads which shard. Every change is told, in order. The
// term says which leadership it is: one that ended and began again between two
// looks has another one.
type leadership struct {
	changes *mailbox.Mailbox[engine.Leadership]
	out     chan engine.Leadership
	metrics *metrics
	elected chan struct{} // somebody was elected: look soon

	mu    sync.Mutex
	leads []bool
	terms []uint64 // of those that this node leads
}

func newLeadership(shards int, m *metrics) *leadership {
	return &leadership{
		changes: mailbox.New[engine.Leadership](),
		out:     make(chan engine.Leadership),
		leads:   make([]bool, shards),
		terms:   make([]uint64, shards),
		elected: make(chan struct{}, 1),
		metrics: m,
	}
}

// set records whether this node leads a shard, in which term, and tells a change.
func (l *leadership) set(shard int, leads bool, term uint64) (changed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	again := leads && l.leads[shard] && l.terms[shard] != term
	if l.leads[shard] == leads && !again {
		return false
	}
	if again {
		l.changes.Put(engine.Leadership{Shard: shard})
	}
	l.leads[shard], l.terms[shard] = leads, term
	l.metrics.leaderChanges.Inc()
	l.changes.Put(engine.Leadership{Shard: shard, Leads: leads})
	return true
}

// restart tells that the leadership of a shard ended and began again, as it does
// for a node that has nobody to hand it to.
func (l *leadership) restart(shard int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.leads[shard] {
		return false
	}
	l.changes.Put(engine.Leadership{Shard: shard}, engine.Leadership{Shard: shard, Leads: true})
	return true
}

// led returns the shards that this node leads.
func (l *leadership) led() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	var led []int
	for shard, leads := range l.leads {
		if leads {
			led = append(led, shard)
		}
	}
	return led
}

// pump hands the changes to who listens, until ctx ends; then it closes the
// channel.
func (l *leadership) pump(ctx context.Context) {
	defer close(l.out)
	var batch []engine.Leadership
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.changes.Ready():
		}
		batch = l.changes.Take(batch)
		for _, c := range batch {
			select {
			case l.out <- c:
			case <-ctx.Done():
				return
			}
		}
	}
}

// watchLeadership follows the embedded server.
func (n *Node) watchLeadership(ctx context.Context) {
	if n.opts.FrontOnly {
		return // it never leads
	}
	groups := make([]string, len(n.logs))
	soon := 0
	for {
		all := n.lookAtLeadership(groups)
		wait := leadershipEvery
		switch {
		case soon > 0:
			wait, soon = leadershipSoon, soon-1
		case all && !n.opts.clustered():
			wait = leadershipAlone
		}
		select {
		case <-ctx.Done():
			return
		case <-n.leadership.elected:
			soon = leadershipLooks
		case <-time.After(wait):
		}
	}
}

// lookAtLeadership notes which shards this node leads, and reports whether it leads
// all of them.
func (n *Node) lookAtLeadership(groups []string) (all bool) {
	all = true
	for shard := range n.logs {
		leads, term := n.leadsNow(shard, &groups[shard])
		all = all && leads
		if n.leadership.set(shard, leads, term) {
			n.opts.Log.Info().Int("shard", shard).Bool("leads", leads).Uint64("term", term).Msg("leadership changed")
		}
	}
	return all
}

// listenElections has the next looks follow an election at once.
func (n *Node) listenElections() error {
	return n.store.hear(electedSubject, "elections", func(*nats.Msg) { nudge(n.leadership.elected) })
}

// leadsNow says whether this node leads a shard and its log takes appends, and in
// which term of the raft group, 0 where there is no group. The server counts as
// leader of a stream with one replica whom it is assigned to, running or not, and
// of others before their subject is listened to. group keeps the group's name
// between the calls.
func (n *Node) leadsNow(shard int, group *string) (leads bool, term uint64) {
	l := n.logs[shard]
	if n.opts.clustered() && !n.server.srv.JetStreamIsStreamLeader(account, l.stream) {
		*group = ""
		return false, 0
	}
	acc, err := n.server.srv.LookupAccount(account)
	if err != nil || acc.Interest(l.subject) == 0 {
		return false, 0
	}
	if !n.opts.clustered() {
		return true, 0
	}
	if *group == "" {
		*group = n.groupOf(l.stream)
	}
	return n.leadsGroup(*group)
}

// groupOf returns the name of the raft group of a stream that is here.
func (n *Node) groupOf(stream string) string {
	acc, err := n.server.srv.JszAccount(&server.JSzOptions{Account: account, Streams: true, RaftGroups: true})
	if err != nil {
		return ""
	}
	for _, d := range acc.Streams {
		if d.Name == stream {
			return d.RaftGroup
		}
	}
	return ""
}

// leadsGroup says whether this node leads a raft group, and in which term: both of
// the same moment. A replica on its own has a name for a group, and no group.
func (n *Node) leadsGroup(name string) (leads bool, term uint64) {
	groups := n.server.srv.Raftz(&server.RaftzOptions{AccountFilter: account, GroupFilter: name})
	if groups == nil {
		return true, 0
	}
	for _, byName := range *groups {
		if g, ok := byName[name]; ok {
			return g.State == server.Leader.String(), g.Term
		}
	}
	return true, 0
}

// Resign hands a shard's leadership to the replica that leads the fewest. Where
// there is none, on a node of its own, the leadership ends and begins again.
func (n *Node) Resign(ctx context.Context, shard int) error {
	if shard < 0 || shard >= len(n.logs) {
		return fmt.Errorf("cluster: resign: there is no shard %d", shard)
	}
	if !n.opts.clustered() || len(n.Replicas(shard)) < 2 {
		if !n.leadership.restart(shard) {
			return ErrNotLeader
		}
		return nil
	}
	if !n.server.srv.JetStreamIsStreamLeader(account, n.logs[shard].stream) {
		return ErrNotLeader
	}
	return n.stepDown(ctx, shard, n.successor(shard))
}

// stepDown makes the leader of a shard, this node, give way to another one; to
// any other one if preferred is empty or not able.
func (n *Node) stepDown(ctx context.Context, shard int, preferred string) error {
	var req server.JSApiLeaderStepdownRequest
	if preferred != "" {
		req.Placement = &server.Placement{Preferred: preferred}
	}
	op := "STREAM.LEADER.STEPDOWN." + n.logs[shard].stream
	err := n.stepDownOnce(ctx, op, req)
	if err != nil && preferred != "" && ctx.Err() == nil {
		err = n.stepDownOnce(ctx, op, server.JSApiLeaderStepdownRequest{})
	}
	if err != nil && !n.server.srv.JetStreamIsStreamLeader(account, n.logs[shard].stream) {
		return nil // it went by itself in the meantime
	}
	if err != nil {
		return fmt.Errorf("cluster: resign shard %d: %w", shard, err)
	}
	return nil
}

func (n *Node) stepDownOnce(ctx context.Context, op string, req server.JSApiLeaderStepdownRequest) error {
	body, err := encode(req)
	if err != nil {
		return err
	}
	var resp server.JSApiStreamLeaderStepDownResponse
	return n.store.try(ctx, op, body, &resp, &resp.ApiResponse)
}

// successor returns the healthy replica of a shard that leads the fewest shards,
// empty if there is none. The embedded server calls a replica current that is being
// filled, or whose node has said goodbye; the nodes know better.
func (n *Node) successor(shard int) string {
	counts := n.leaderCounts()
	best := ""
	for _, r := range n.ShardStats(shard).Replicas {
		if r.Name == n.opts.Node || r.Offline || !r.Current || n.unfit(r.Name, shard) {
			continue
		}
		if best == "" || counts[r.Name] < counts[best] {
			best = r.Name
		}
	}
	return best
}

// unfit says whether a node has told that it stops, or that its replica of a shard is not
// whole.
func (n *Node) unfit(node string, shard int) bool {
	return slices.ContainsFunc(n.Members(), func(m Member) bool {
		return m.Name == node && (m.State == MemberLeft ||
			slices.ContainsFunc(m.Health, func(h ReplicaHealth) bool { return h.Shard == shard }))
	})
}

// handOver gives away all leaderships, of shards and of the cluster itself, and
// waits until they are gone or ctx ends.
func (n *Node) handOver(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 6*n.opts.Election)
	defer cancel()
	for shard := range n.logs {
		if !n.electable(shard) || !n.server.srv.JetStreamIsStreamLeader(account, n.logs[shard].stream) {
			continue
		}
		if err := n.stepDown(ctx, shard, n.successor(shard)); err != nil {
			n.opts.Log.Warn().Err(err).Int("shard", shard).Msg("leadership not handed over")
		}
	}
	if n.server.srv.JetStreamIsLeader() {
		if err := n.stepDownMeta(ctx); err != nil {
			n.opts.Log.Warn().Err(err).Msg("leadership of the cluster not handed over")
		}
	}
	t := time.NewTicker(leadershipEvery)
	defer t.Stop()
	for n.leadsReplicated() {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// leadsReplicated says whether this node leads something that others could lead,
// or something whose next leader is not known yet.
func (n *Node) leadsReplicated() bool {
	electable := false
	for shard := range n.logs {
		if !n.electable(shard) {
			continue
		}
		electable = true
		if leader := n.ShardStats(shard).Leader; leader == n.opts.Node || leader == "" {
			return true
		}
	}
	return electable && n.server.srv.JetStreamIsLeader()
}

// electable says whether the other replicas of a shard are a majority without
// this node, so that they can elect one of them.
func (n *Node) electable(shard int) bool {
	up := make(map[string]bool)
	for _, m := range n.Members() {
		up[m.Name] = m.State == MemberUp
	}
	replicas, others := n.Replicas(shard), 0
	for _, name := range replicas {
		if name != n.opts.Node && up[name] {
			others++
		}
	}
	return others > len(replicas)/2
}

// stepDownMeta hands the leadership of the cluster's own group over, which is a
// request of the system account.
func (n *Node) stepDownMeta(ctx context.Context) error {
	nc, err := n.server.connectAs(systemUser, "system")
	if err != nil {
		return err
	}
	defer nc.Close()
	system := &store{srv: n.server.srv, nc: nc}
	var resp server.JSApiLeaderStepDownResponse
	return system.try(ctx, "META.LEADER.STEPDOWN", nil, &resp, &resp.ApiResponse)
}
