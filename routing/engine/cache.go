package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/selvedge-mq/selvedge/routing/shard"
)

// bodyCache keeps the youngest records of a shard in memory, up to a number of
// bytes, and reads others from the log, some ahead. It is safe for concurrent
// use; records are never changed.
type bodyCache struct {
	limit int
	reads prometheus.Counter // of the log

	mu    sync.Mutex
	recs  map[uint64][]byte
	order []uint64 // as they came in
	bytes int
}

func newBodyCache(limit int, reads prometheus.Counter) *bodyCache {
	return &bodyCache{limit: limit, reads: reads, recs: map[uint64][]byte{}}
}

// held returns the bytes in memory.
func (c *bodyCache) held() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int64(c.bytes)
}

// put keeps a record, and forgets the oldest ones for it.
func (c *bodyCache) put(seq uint64, rec []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.recs[seq] != nil {
		return
	}
	c.recs[seq] = rec
	c.order = append(c.order, seq)
	c.bytes += len(rec)
	for c.bytes > c.limit && len(c.order) > 1 {
		c.bytes -= len(c.recs[c.order[0]])
		delete(c.recs, c.order[0])
		c.order = c.order[1:]
	}
}

func (c *bodyCache) get(seq uint64) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.recs[seq]
}

// body returns the bytes of an envelope.
func (c *bodyCache) body(ctx context.Context, log Log, b shard.Body) ([]byte, error) {
	if b.Bytes != nil {
		return b.Bytes, nil
	}
	rec, err := c.record(ctx, log, b.Seq)
	if err != nil {
		return nil, err
	}
	if uint64(b.Off)+uint64(b.Size) > uint64(len(rec)) {
		return nil, fmt.Errorf("record %d has %d octets, a body ends at %d: %w", b.Seq, len(rec), b.Off+b.Size, shard.ErrCorrupt)
	}
	return rec[b.Off : b.Off+b.Size : b.Off+b.Size], nil
}

// readAhead is how many bytes are read from the log at once for a backlog.
const readAhead = 1 << 20

var errEnough = errors.New("enough was read")

// record returns a record from memory or from the log.
func (c *bodyCache) record(ctx context.Context, log Log, seq uint64) ([]byte, error) {
	if rec := c.get(seq); rec != nil {
		return rec, nil
	}
	c.reads.Inc()
	var found []byte
	size := 0
	err := log.Scan(ctx, seq, func(at uint64, rec []byte) error {
		if at == seq {
			found = rec
		}
		if found == nil {
			return ErrPurged
		}
		c.put(at, rec)
		if size += len(rec); size >= min(readAhead, c.limit/4) {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, fmt.Errorf("reading record %d: %w", seq, err)
	}
	if found == nil {
		return nil, fmt.Errorf("reading record %d: %w", seq, ErrNotFound)
	}
	return found, nil
}
