package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"

	"github.com/selvedge-mq/selvedge/routing/shard"
)

// QueueInfo describes a queue of the cluster. In and Out count since its leader
// took over.
type QueueInfo struct {
	Name      string `json:"name"`
	Shard     int    `json:"shard"`
	Leader    string `json:"leader"`
	Depth     int    `json:"depth"`
	InFlight  int    `json:"in_flight"`
	Consumers int    `json:"consumers"`
	Bytes     int64  `json:"bytes"`
	In        uint64 `json:"in"`
	Out       uint64 `json:"out"`
}

const askQueues = "queues"

// queuePage is a part of the list of the queues whose shards a node leads. It fits into
// an answer, however many queues there are.
type queuePage struct {
	Queues []QueueInfo  `json:"queues"`
	Next   *queueCursor `json:"next,omitempty"` // where the next part begins, nil for none
}

// queueCursor is a place in a node's list.
type queueCursor struct {
	Shard int `json:"shard"`
	Place int `json:"place"` // in the shard
}

const (
	pageBytes  = 1 << 20 // about, of a page
	queueBytes = 200     // about, of a queue in it, beside its name
)

// Queues lists the queues of the whole cluster by name.
func (e *Engine) Queues(ctx context.Context) ([]QueueInfo, error) {
	all := []QueueInfo{}
	_ = e.gatherQueues(func(at queueCursor) (queuePage, error) { return e.ownQueues(ctx, at), nil }, &all)
	var (
		mu sync.Mutex
		wg sync.WaitGroup
	)
	for _, node := range e.up() {
		wg.Go(func() {
			var theirs []QueueInfo
			err := e.gatherQueues(func(at queueCursor) (queuePage, error) { return e.askQueues(ctx, node, at) }, &theirs)
			if err != nil {
				e.log.Warn().Err(err).Str("peer", node).Msg("node did not list its queues")
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, theirs...)
		})
	}
	wg.Wait()
	slices.SortFunc(all, func(a, b QueueInfo) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// gatherQueues adds a node's list to another one, page by page.
func (e *Engine) gatherQueues(page func(at queueCursor) (queuePage, error), to *[]QueueInfo) error {
	for at := (&queueCursor{}); at != nil; {
		p, err := page(*at)
		if err != nil {
			return err
		}
		*to = append(*to, p.Queues...)
		if p.Next != nil && !p.Next.after(*at) {
			return errPage
		}
		at = p.Next
	}
	return nil
}

var errPage = errors.New("the list of queues does not go on")

func (c queueCursor) after(other queueCursor) bool {
	return cmp.Or(cmp.Compare(c.Shard, other.Shard), cmp.Compare(c.Place, other.Place)) > 0
}

// askQueues asks a node for a page of its list.
func (e *Engine) askQueues(ctx context.Context, node string, at queueCursor) (page queuePage, err error) {
	req, err := json.Marshal(at)
	if err != nil {
		return page, err
	}
	answer, err := e.opts.Peers.Ask(ctx, node, askQueues, req)
	if err != nil {
		return page, err
	}
	return page, json.Unmarshal(answer, &page)
}

// ownQueues lists the queues of the shards that this node leads, from a place on.
func (e *Engine) ownQueues(ctx context.Context, at queueCursor) queuePage {
	page := queuePage{Queues: []QueueInfo{}}
	room := pageBytes
	for n, place := max(at.Shard, 0), max(at.Place, 0); n < len(e.portals); n, place = n+1, 0 {
		ch := make(chan shardPage, 1)
		if !e.atLeader(n, func(l *leader) { ch <- l.queues(place, room) }) {
			continue
		}
		select {
		case p := <-ch:
			page.Queues = append(page.Queues, p.queues...)
			if p.next > 0 {
				page.Next = &queueCursor{Shard: n, Place: p.next}
				return page
			}
			room -= p.bytes
		case <-ctx.Done():
			return page
		}
	}
	return page
}

// shardPage is what a shard adds to a page.
type shardPage struct {
	queues []QueueInfo
	bytes  int
	next   int // the place of the first one that had no room, 0 for none
}

// queues lists the shard's queues from a place on, as many as there is room for.
func (l *leader) queues(place, room int) (p shardPage) {
	p.next = l.s.QueuesFrom(place, func(q shard.QueueInfo) bool {
		name := q.Address.Name
		if isTemporary(q.Address.Kind) {
			name = q.Address.String()
		}
		if p.bytes >= room {
			return false
		}
		p.bytes += queueBytes + len(name)
		p.queues = append(p.queues, QueueInfo{
			Name: name, Shard: l.shard, Leader: l.e.node, Depth: q.Depth, InFlight: q.InFlight,
			Consumers: q.Consumers, Bytes: q.Bytes, In: q.In, Out: q.Out,
		})
		return true
	})
	return p
}
