package gateway

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/selvedge-mq/selvedge/gateway/api"
)

// Rates of queues are the growth between two samples. The older one is that of
// the previous question, or the one before if that is too young; they may not be
// too old.
const (
	minSampleAge = 500 * time.Millisecond
	maxSampleAge = 30 * time.Second
	samplePause  = time.Second
)

// queueRates answers which queues there are and how fast they move.
type queueRates struct {
	turn  chan struct{} // holds one token: who has it owns the samples
	last  queueSample
	prior queueSample // what last was compared with
}

type queueSample struct {
	at     time.Time
	queues map[queueKey]queueCount
}

// queueKey names the leader too: a new one counts anew.
type queueKey struct{ name, leader string }

func newQueueRates() *queueRates {
	r := &queueRates{turn: make(chan struct{}, 1)}
	r.turn <- struct{}{}
	return r
}

// list returns the queues by name. The first question takes a second, since a
// rate needs two samples.
func (r *queueRates) list(ctx context.Context, b broker) ([]api.Queue, error) {
	select {
	case <-r.turn:
		defer func() { r.turn <- struct{}{} }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	before, age := r.last, time.Since(r.last.at)
	switch {
	case age < minSampleAge:
		now, list, err := take(ctx, b)
		if err != nil {
			return nil, err
		}
		return render(r.prior, now, list), nil
	case age > maxSampleAge:
		var err error
		if before, _, err = take(ctx, b); err != nil {
			return nil, err
		}
		if !waited(ctx, samplePause) {
			return nil, context.Cause(ctx)
		}
	}
	now, list, err := take(ctx, b)
	if err != nil {
		return nil, err
	}
	r.prior, r.last = before, now
	return render(before, now, list), nil
}

func take(ctx context.Context, b broker) (queueSample, []queueCount, error) {
	list, err := b.Queues(ctx)
	if err != nil {
		return queueSample{}, nil, err
	}
	s := queueSample{at: time.Now(), queues: make(map[queueKey]queueCount, len(list))}
	for _, q := range list {
		s.queues[queueKey{q.name, q.leader}] = q
	}
	return s, list, nil
}

func render(before, now queueSample, list []queueCount) []api.Queue {
	out := make([]api.Queue, 0, len(list))
	for _, q := range list {
		a := api.Queue{
			Name: q.name, Depth: q.depth, InFlight: q.inFlight, Consumers: q.subscribed, Bytes: q.bytes,
			Shard: q.shard, Leader: q.leader,
		}
		if old, ok := before.queues[queueKey{q.name, q.leader}]; ok {
			a.InPerSecond = rate(sample{before.at, old.in}, sample{now.at, q.in})
			a.OutPerSecond = rate(sample{before.at, old.out}, sample{now.at, q.out})
		}
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b api.Queue) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
