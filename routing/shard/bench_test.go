package shard

import (
	"testing"

	"github.com/selvedge-mq/selvedge/routing"
)

// BenchmarkThroughShard measures what a persistent message costs the machine, from
// Send to the record of its settlement, 100 messages a record.
func BenchmarkThroughShard(b *testing.B) {
	const batch = 100
	l := lead(b, Options{}, nil)
	sends, settles := l.openLanes()
	sub := SubID{Session: 1, Sub: 1}
	l.s.Subscribe(sub, routing.Queue("q"))
	l.s.Grant(sub, 2*batch)
	message := env("q", string(make([]byte, 256)), true)
	accepted := routing.Outcome{Kind: routing.Accepted}
	var keys []uint64
	turn := func() {
		if rec := l.s.Seal(l.now); rec != nil {
			if err := l.s.Apply(l.s.LastSeq()+1, rec.Rec, rec); err != nil {
				b.Fatal(err)
			}
		}
		l.s.Dispatch()
		for i := range l.s.Effects().Deliveries {
			keys = append(keys, l.s.Effects().Deliveries[i].Key)
		}
		l.s.Effects().Reset()
		l.s.ComposeCut()
	}
	b.ReportAllocs()
	sent, settled := uint64(0), uint64(0)
	for b.Loop() {
		sent++
		l.s.Send(sends, sent, message)
		if sent%batch != 0 {
			continue
		}
		turn()
		for _, key := range keys {
			settled++
			l.s.Settle(settles, settled, Settlement{Sub: sub, Key: key, Outcome: accepted})
		}
		l.s.Grant(sub, int32(len(keys)))
		keys = keys[:0]
	}
}
