package cluster

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/selvedge-mq/selvedge/routing/engine"
)

// ErrDamaged says that a record is missing or cannot be read although the log's
// bounds include it.
var ErrDamaged = errors.New("cluster: the log is damaged")

// ErrReopen is the kind of failures after which the node is to be closed and opened
// again, in the same process or another: that repairs it.
var ErrReopen = errors.New("cluster: the node must start again")

// shardLog is the engine.Log of a shard on a stream.
type shardLog struct {
	*store
	shard   int
	stream  string
	subject string
	names   *folderNames // of the files with its records, nil: they are not kept; the appender's
	closed  atomic.Bool
}

var _ engine.Log = (*shardLog)(nil)

// streamName is the name of the stream that holds a shard's log.
func streamName(shard int) string { return "S" + strconv.Itoa(shard) }

// streamSubject is the one subject of that stream.
func streamSubject(shard int) string { return "selvedge.log." + strconv.Itoa(shard) }

func newShardLog(s *store, shard int) *shardLog {
	return &shardLog{store: s, shard: shard, stream: streamName(shard), subject: streamSubject(shard)}
}

// Close ends the log on this node; its records stay.
func (l *shardLog) Close() error {
	l.closed.Store(true)
	l.app.fail(l, ErrClosed)
	return nil
}

// Append starts an append of rec behind the sequence expect.
func (l *shardLog) Append(expect uint64, rec []byte, done func(seq uint64, err error)) {
	if len(rec) > maxRecord {
		go done(0, ErrTooLarge)
		return
	}
	l.app.append(l, expect, rec, done)
}

// Bounds returns the first and last sequence: of this node's replica if it has
// one, else what the leader says.
func (l *shardLog) Bounds(ctx context.Context) (first, last uint64, err error) {
	if err := l.usable(ctx); err != nil {
		return 0, 0, err
	}
	if d, ok := l.local(l.stream); ok {
		first, last = boundsOf(d.State)
		return first, last, nil
	}
	var resp server.JSApiStreamInfoResponse
	if err := l.call(ctx, "STREAM.INFO."+l.stream, nil, &resp, &resp.ApiResponse); err != nil {
		return 0, 0, fmt.Errorf("bounds of %s: %w", l.stream, err)
	}
	first, last = boundsOf(resp.State)
	return first, last, nil
}

// boundsOf reads a stream's state: an empty one may say 0 to 0.
func boundsOf(s server.StreamState) (first, last uint64) {
	if s.Msgs == 0 {
		return s.LastSeq + 1, s.LastSeq
	}
	return s.FirstSeq, s.LastSeq
}

// Purge removes every record up to and including upTo, but never more than there
// are: a purge beyond the end would move the end.
func (l *shardLog) Purge(ctx context.Context, upTo uint64) error {
	first, last, err := l.Bounds(ctx)
	if err != nil {
		return err
	}
	upTo = min(upTo, last)
	if upTo < first {
		return nil
	}
	req := server.JSApiStreamPurgeRequest{Sequence: upTo + 1}
	var resp server.JSApiStreamPurgeResponse
	if err := l.call(ctx, "STREAM.PURGE."+l.stream, req, &resp, &resp.ApiResponse); err != nil {
		return fmt.Errorf("purge %s up to %d: %w", l.stream, upTo, err)
	}
	return nil
}

// Read returns the record at seq.
func (l *shardLog) Read(ctx context.Context, seq uint64) ([]byte, error) {
	first, last, err := l.Bounds(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case seq < first:
		return nil, engine.ErrPurged
	case seq > last:
		return nil, engine.ErrNotFound
	}
	rec := l.readFile(ctx, seq)
	if rec == nil {
		rec = l.readOne(ctx, seq)
	}
	if rec != nil {
		return rec, nil
	}
	err = l.scan(ctx, seq, seq, l.fetch, func(_ uint64, b []byte) error {
		rec = b
		return nil
	})
	return rec, err
}

// Scan calls f for each record from from to the last one there is now. The next
// batch is on its way while f works on one.
func (l *shardLog) Scan(ctx context.Context, from uint64, f func(seq uint64, rec []byte) error) error {
	first, last, err := l.Bounds(ctx)
	if err != nil {
		return err
	}
	return l.scan(ctx, max(first, from), last, l.fetchHere, f)
}

// usable says whether a call can begin.
func (l *shardLog) usable(ctx context.Context) error {
	if l.closed.Load() {
		return ErrClosed
	}
	return ctx.Err()
}
