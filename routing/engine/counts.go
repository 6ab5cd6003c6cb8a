package engine

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Counts are what became of messages in the shards that this node led, since its
// start. Summed over the nodes they are the cluster's.
type Counts struct {
	Rejected    uint64 // dead-lettered: a consumer rejected them
	Exhausted   uint64 // dead-lettered: too many attempts failed
	Expired     uint64 // dropped: their time was over
	Refused     uint64 // dropped: rejected at the dead-letter queue itself
	Unreadable  uint64 // dropped: dead, and their bytes are no message
	Deleted     uint64 // dropped: their temporary queue is gone
	Lost        uint64 // dropped: not persistent, and this node ceased to lead
	Redelivered uint64 // handed out marked as redelivered
	Stale       uint64 // settlements that came too late
	Void        uint64 // records of former leaders that changed nothing
}

// tally is Counts as they grow.
type tally struct {
	rejected, exhausted, expired, refused, unreadable, deleted, lost, redelivered, stale, void atomic.Uint64
}

func (t *tally) counts() Counts {
	return Counts{
		Rejected: t.rejected.Load(), Exhausted: t.exhausted.Load(), Expired: t.expired.Load(), Refused: t.refused.Load(),
		Unreadable: t.unreadable.Load(), Deleted: t.deleted.Load(), Lost: t.lost.Load(), Redelivered: t.redelivered.Load(), Stale: t.stale.Load(), Void: t.void.Load(),
	}
}

// account adds what the machine counted since the last call. A replay counts what
// former leaders have counted, so it is not taken in, but for records that are void: who
// meets one in its epoch begins a new one, which counts them. [leader.takeOver]
func (l *leader) account() {
	was, now := l.counted, l.s.Counts()
	l.counted = now
	t := &l.e.tally
	t.rejected.Add(now.Rejected - was.Rejected)
	t.exhausted.Add(now.Exhausted - was.Exhausted)
	t.expired.Add(now.Expired - was.Expired)
	t.refused.Add(now.Dropped - was.Dropped)
	t.unreadable.Add(now.Unreadable - was.Unreadable)
	t.deleted.Add(now.Deleted - was.Deleted)
	t.redelivered.Add(now.Redelivered - was.Redelivered)
	t.stale.Add(now.Stale - was.Stale)
	t.void.Add(now.Void - was.Void)
}

// accountEnd is the last account of a leader, whose memory is lost.
func (l *leader) accountEnd() {
	l.account()
	l.e.tally.lost.Add(uint64(l.s.SoftLive()))
}

// publish makes metrics of the tally.
func (t *tally) publish(f promauto.Factory) {
	of := func(name, help, cause string, n *atomic.Uint64) {
		o := prometheus.CounterOpts{Name: name, Help: help}
		if cause != "" {
			o.ConstLabels = prometheus.Labels{"cause": cause}
		}
		f.NewCounterFunc(o, func() float64 { return float64(n.Load()) })
	}
	const (
		dead    = "Messages of the shards led here that went to the dead-letter queue."
		dropped = "Messages of the shards led here that were dropped."
	)
	of("selvedge_engine_dead_letters_total", dead, "rejected", &t.rejected)
	of("selvedge_engine_dead_letters_total", dead, "exhausted", &t.exhausted)
	of("selvedge_engine_dropped_total", dropped, "expired", &t.expired)
	of("selvedge_engine_dropped_total", dropped, "refused", &t.refused)
	of("selvedge_engine_dropped_total", dropped, "unreadable", &t.unreadable)
	of("selvedge_engine_dropped_total", dropped, "deleted", &t.deleted)
	of("selvedge_engine_dropped_total", dropped, "leader-change", &t.lost)
	of("selvedge_engine_redelivered_total", "Deliveries that may not have been the first of their message.", "", &t.redelivered)
	of("selvedge_engine_stale_total", "Settlements of deliveries that had been handed out again.", "", &t.stale)
	of("selvedge_engine_void_records_total", "Records of former leaders that arrived late and changed nothing.", "", &t.void)
}
