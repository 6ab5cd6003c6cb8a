package engine

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/selvedge-mq/selvedge/routing/shard"
)

// clean keeps the log short: it has the live part of the oldest records
// rewritten, one at a time, and the dead prefix cut.
func (l *leader) clean(ctx context.Context) {
	l.s.ComposeCut()
	if l.cleaning || l.s.LastSeq() < l.cleanAfter {
		return
	}
	seq, ok := l.s.CleanTarget()
	if !ok {
		return
	}
	l.cleaning = true
	l.e.wg.Go(func() {
		rec, err := l.cache.record(ctx, l.log, seq)
		l.box.Put(func() {
			l.cleaning = false
			l.rewrite(seq, rec, err)
		})
	})
}

func (l *leader) rewrite(seq uint64, rec []byte, err error) {
	if l.failed != nil {
		return
	}
	if size, _, _ := l.s.Composed(); err == nil && size+len(rec) > shard.MaxRecord {
		return // it would not fit: the open record goes first
	}
	if err == nil {
		err = l.s.Rewrite(seq, rec)
	}
	if err != nil {
		l.zl.Error().Err(err).Uint64("seq", seq).Msg("old record cannot be read")
		l.fail(err)
		return
	}
	l.cleanAfter = l.lastExpected() + 1
}

// purge has the log give the space of the greatest logged cut back, one purge at a
// time.
func (l *leader) purge(ctx context.Context) {
	upTo := l.s.Cut()
	if l.purging || upTo <= l.purged {
		return
	}
	l.purging = true
	l.e.wg.Go(func() {
		tctx, stop := context.WithTimeout(ctx, purgeTimeout)
		err := l.log.Purge(tctx, upTo)
		stop()
		if err != nil {
			l.zl.Debug().Err(err).Uint64("up_to", upTo).Msg("purge is tried again")
			wait(ctx, purgeRetry)
		}
		l.box.Put(func() {
			l.purging = false
			if err == nil {
				l.purged = upTo
			}
		})
	})
}

const (
	purgeTimeout = 5 * time.Second
	purgeRetry   = time.Second
)

// forgetLeft drops the lanes of processes that have said goodbye. [invariant 5]
func (l *leader) forgetLeft() {
	owners := l.s.Owners()
	for _, session := range slices.Sorted(maps.Keys(owners)) {
		node := owners[session]
		if _, here := l.nodes[session]; !here && l.e.left(node, session) {
			l.zl.Debug().Str("from", node).Uint64("session", session).Msg("lanes of a node that left are dropped")
			l.s.CloseSession(session)
			l.s.Forget(session)
		}
	}
}

// left reports whether a process of a node has said goodbye, as far as the fabric knows.
func (e *Engine) left(node string, session uint64) bool {
	departures, ok := e.opts.Fabric.(Departures)
	return ok && departures.Left(node, session)
}

// giveUpUploads ends the uploads that got no part for too long.
func (l *leader) giveUpUploads() {
	if n := l.s.GiveUpUploads(nowMilli(), l.e.opts.UploadIdle.Milliseconds()); n > 0 {
		l.e.metrics.uploadsEnded.Add(float64(n))
		l.zl.Warn().Int("uploads", n).Msg("uploads got no part for too long and are given up")
	}
}

// body returns a message's envelope, also when the cleaner moved it to another
// record in the meantime; ErrPurged means that the message is gone.
func (l *leader) body(ctx context.Context, key uint64, at shard.Body) ([]byte, error) {
	for {
		b, err := l.cache.body(ctx, l.log, at)
		if !errors.Is(err, ErrPurged) {
			return b, err
		}
		ch := make(chan shard.Body, 1)
		l.box.Put(func() { ch <- l.s.Locate(key) })
		select {
		case now := <-ch:
			if now.Seq == at.Seq || now.Seq == 0 {
				return nil, err
			}
			at = now
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
