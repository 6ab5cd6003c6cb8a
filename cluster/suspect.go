package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/selvedge-mq/selvedge/cluster/blocks"
)

// A record that is missing or damaged is noticed by whoever reads it, and the
// answer may be any replica's. So the reader tells all nodes, and each looks at its
// own files. The one that finds damage stops: its embedded server would go on
// as if nothing were, and its next start repairs.

// suspectSubject is where a reader tells.
const suspectSubject = "selvedge.suspect"

// Times of a suspicion.
const (
	suspectAgain   = 10 * time.Second // between two looks at the same files
	suspectConfirm = time.Second      // between the two looks that make sure
)

// suspicion says that a shard's log could not be read.
type suspicion struct {
	Shard int `json:"shard"`
}

// raise tells all nodes, this one among them, that a log could not be read.
func (s *store) raise(shard int) {
	if b, err := json.Marshal(suspicion{Shard: shard}); err == nil {
		_ = s.nc.Publish(suspectSubject, b) // the next reader tells again
	}
}

// listenSuspects takes what readers tell, until the connection ends.
func (n *Node) listenSuspects() error {
	return n.store.hear(suspectSubject, "suspicions", func(m *nats.Msg) {
		var s suspicion
		if json.Unmarshal(m.Data, &s) != nil || s.Shard < 0 || s.Shard >= len(n.logs) {
			return
		}
		n.suspect(s.Shard)
	})
}

// suspect has the files of a shard's log be looked at.
func (n *Node) suspect(shard int) {
	select {
	case n.suspects <- shard:
	default: // a look is under way, and the next reader tells again
	}
}

// watchSuspects looks at the files of logs that could not be read, until ctx ends.
func (n *Node) watchSuspects(ctx context.Context) {
	looked := make(map[int]time.Time)
	for {
		select {
		case <-ctx.Done():
			return
		case text := <-n.server.log.doubts:
			if shard := n.doubted(text); shard >= 0 {
				n.suspect(shard)
			}
		case shard := <-n.suspects:
			if time.Since(looked[shard]) < suspectAgain || !n.replicas.whole(shard) || !n.replicas.full(shard) {
				continue // one that is being filled is looked at when it is full
			}
			if err := n.lookTwice(ctx, shard); err != nil && ctx.Err() == nil {
				n.condemn(ctx, shard, err)
				return
			}
			looked[shard] = time.Now()
		}
	}
}

// doubted returns the shard whose stream a line of the embedded server's log is about,
// negative if it is none.
func (n *Node) doubted(text string) int {
	return slices.IndexFunc(n.logs, func(l *shardLog) bool {
		return strings.Contains(text, "["+l.stream+"]") || strings.Contains(text, "> "+l.stream+"'")
	})
}

// lookTwice returns what is wrong with the files of a shard's stream: what is
// found once may be a write under way.
func (n *Node) lookTwice(ctx context.Context, shard int) error {
	if err := n.look(ctx, shard, nil); err == nil {
		return nil
	}
	if pause(ctx, suspectConfirm) != nil {
		return nil
	}
	return n.look(ctx, shard, nil)
}

// look returns what is wrong with the files of a shard's stream now. pace, if set,
// is told the bytes of each block that was read.
//
// With the sync at an interval the server counts a record some time before it writes
// it. So an end that is missing is looked for once more, and no further than the log
// went at first.
func (n *Node) look(ctx context.Context, shard int, pace func(bytes int64)) error {
	d, here := n.store.local(n.logs[shard].stream)
	if !here {
		return nil
	}
	next, last := boundsOf(d.State)
	at, err := n.readUpTo(ctx, shard, next, last, pace)
	if !errors.Is(err, errIncomplete) {
		return err
	}
	if pause(ctx, suspectConfirm) != nil {
		return nil
	}
	_, err = n.readUpTo(ctx, shard, at, last, pace)
	return err
}

// readUpTo reads the files of a shard's stream from the record next to last, and
// returns how far they are whole, and what is wrong behind that.
func (n *Node) readUpTo(ctx context.Context, shard int, next, last uint64, pace func(bytes int64)) (uint64, error) {
	l := n.logs[shard]
	o := l.storedAs()
	o.Progress = pace
	for next <= last {
		at, err := blocks.Live(ctx, streamDir(n.opts.Dir, shard), next, o, func([]blocks.Record) error { return nil })
		next = at
		d, here := n.store.local(l.stream)
		if !here || ctx.Err() != nil {
			return next, nil
		}
		if now, _ := boundsOf(d.State); now > next {
			next = now // a purge came first
			continue
		}
		switch {
		case isDamage(err):
			return next, err
		case err != nil:
			n.opts.Log.Warn().Err(err).Int("shard", shard).Msg("files of a log not read")
			return next, nil
		case next <= last:
			return next, fmt.Errorf("%w: the files end before record %d, the log at %d", errIncomplete, next, last)
		}
	}
	return next, nil
}

// condemn stops the embedded server, since the replica of a shard is damaged. The
// node must be closed and opened again: then it repairs. It lets others that run catch
// up, and hands over, first. A server that stops leaves its last words to a replica of its
// choice: if that is one that is being filled, which must not lead, and no other hears
// them, that one has the longer log, and nobody can be elected.
func (n *Node) condemn(ctx context.Context, shard int, err error) {
	n.damaged.Store(true)
	n.opts.Log.Error().Int("shard", shard).Err(err).Msg("replica is damaged")
	n.replicas.set(ReplicaHealth{Shard: shard, State: ReplicaDamaged, Reason: err.Error()})
	if n.opts.clustered() {
		n.awaitSpared(ctx)
		n.handOver(ctx)
	}
	n.fail(fmt.Errorf("%w: %w: shard %d: %w", ErrReopen, ErrDamaged, shard, err))
	n.server.srv.Shutdown()
}

// intactOr returns an error if a record that was read is damaged.
func (l *shardLog) intactOr(seq uint64, rec []byte) error {
	if l.check == nil {
		return nil
	}
	if err := l.check(rec); err != nil {
		return fmt.Errorf("%w: %s: record %d: %w", ErrDamaged, l.stream, seq, err)
	}
	return nil
}

// noteDamage passes an error on, and raises a suspicion if it tells of damage.
func (l *shardLog) noteDamage(err error) error {
	if errors.Is(err, ErrDamaged) {
		l.raise(l.shard)
	}
	return err
}
