package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/selvedge-mq/selvedge/cluster/blocks"
	"github.com/selvedge-mq/selvedge/routing/engine"
)

// A log is read as a whole when its shard is taken over. That is done from this
// node's own files: many times faster than by way of the embedded server, which
// besides may have any replica answer, so that nobody would see the damage of the
// replica that leads from now on.

// errReadEnough ends the reading of files at the last record that is wanted.
var errReadEnough = errors.New("the last record was read")

var _ engine.Replayer = (*shardLog)(nil)

// Replay calls f for each record of the log. It reads this node's files, if it has
// them.
func (l *shardLog) Replay(ctx context.Context, f func(seq uint64, rec []byte) error) error {
	first, last, err := l.Bounds(ctx)
	if err != nil {
		return err
	}
	return l.scan(ctx, first, last, l.fetchAll, f)
}

// fetchAll is the fetcher that reads the files, and what is not in them yet from
// the server.
func (l *shardLog) fetchAll(ctx context.Context, from, last uint64, out chan<- []record, more <-chan struct{}) error {
	next, err := l.fetchFiles(ctx, from, last, out)
	if err != nil {
		return err
	}
	return l.fetch(ctx, next, last, out, more)
}

// fetchFiles sends the records from from to last to out as far as they are whole in
// this node's files, and returns the sequence of the first one that is not: the
// server has the others. A batch is valid until the next one was received. An error of
// the kind [ErrDamaged] says that the files are damaged.
func (l *shardLog) fetchFiles(ctx context.Context, from, last uint64, out chan<- []record) (next uint64, err error) {
	if !l.hasFiles() {
		return from, nil
	}
	next = from
	send := func(recs []blocks.Record) error {
		batch := make([]record, 0, len(recs))
		for _, r := range recs {
			if r.Seq > last {
				break // appended since
			}
			batch = append(batch, record{r.Seq, r.Msg})
		}
		l.app.metrics.read(fromFiles, batch)
		select {
		case out <- batch:
		case <-ctx.Done():
			return ctx.Err()
		}
		if next += uint64(len(batch)); next > last {
			return errReadEnough
		}
		return nil
	}
	_, err = blocks.Live(ctx, streamDir(l.dir, l.shard), from, l.storedAs(), send)
	return next, l.judgeFiles(ctx, next, err)
}

// storedAs says how the log is stored.
func (l *shardLog) storedAs() blocks.Options {
	o := blocks.Options{Name: l.stream, Subject: l.subject}
	if l.check != nil {
		o.Record = func(_ uint64, rec []byte) error { return l.check(rec) }
	}
	return o
}

// judgeFiles says what the end of a reading of files means for the scan: nil if it
// goes on from next by way of the server.
func (l *shardLog) judgeFiles(ctx context.Context, next uint64, err error) error {
	if cerr := ctx.Err(); cerr != nil {
		return fmt.Errorf("scan of %s: %w", l.stream, cerr)
	}
	if !isDamage(err) {
		return nil // all was read, or the files have another form, or cannot be opened
	}
	if first, _, berr := l.Bounds(ctx); berr == nil && next < first {
		return nil // a purge came first, which the server tells
	}
	return fmt.Errorf("%w: %s: %w", ErrDamaged, l.stream, err)
}
