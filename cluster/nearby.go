package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/selvedge-mq/selvedge/cluster/blocks"
)

// Some records of a log are read when what is handed out is not in memory any more: a
// backlog, or the parts of large messages. That is done from this node's own
// files, too, if it has them: for a few records the embedded server brings whole blocks
// into memory, of 8 MiB each, and does so again for the next ones when the memory was
// needed meanwhile.

// firstHere is how many bytes of records are read from the files before anybody is known
// to want more.
const firstHere = 1 << 20

// errStop ends a reading of files.
var errStop = errors.New("no more is wanted")

// fetchHere is the fetcher that reads some records: of this node's files, and from
// the server what is not whole in them.
func (l *shardLog) fetchHere(ctx context.Context, from, last uint64, out chan<- []record, more <-chan struct{}) error {
	next := from
	if l.hasFiles() {
		var err error
		if next, err = l.fetchSome(ctx, from, last, out, more); err != nil {
			return err
		}
	}
	if next > last {
		return nil
	}
	return l.fetch(ctx, next, last, out, more)
}

// hasFiles reports whether this node holds the log's files.
func (l *shardLog) hasFiles() bool {
	_, here := l.local(l.stream)
	return here && l.dir != ""
}

// fetchSome sends the records from from to last to out as far as they are whole in this
// node's files, batch by batch, and returns the sequence of the first one that is not.
func (l *shardLog) fetchSome(ctx context.Context, from, last uint64, out chan<- []record, more <-chan struct{}) (next uint64, err error) {
	next = from
	var batch []record
	size, most := 0, firstHere
	send := func() bool {
		if len(batch) == 0 {
			return true
		}
		l.app.metrics.read(fromFiles, batch)
		next += uint64(len(batch))
		wanted := pass(ctx, out, batch, most == firstHere, more)
		batch, size, most = nil, 0, scanBytes
		return wanted
	}
	err = blocks.Some(ctx, streamDir(l.dir, l.shard), from, l.storedAs(), func(r blocks.Record) error {
		batch = append(batch, record{r.Seq, r.Msg})
		size += len(r.Msg)
		if r.Seq == last || size >= most && !send() {
			return errStop
		}
		return nil
	})
	if err == nil || errors.Is(err, errStop) {
		send()
	}
	if cerr := ctx.Err(); cerr != nil {
		return next, fmt.Errorf("scan of %s: %w", l.stream, cerr)
	}
	return next, nil
}

// readFile returns the record at seq from this node's files, nil if it is not there.
func (l *shardLog) readFile(ctx context.Context, seq uint64) (rec []byte) {
	if !l.hasFiles() {
		return nil
	}
	_ = blocks.Some(ctx, streamDir(l.dir, l.shard), seq, l.storedAs(), func(r blocks.Record) error {
		rec = r.Msg
		return errStop
	}) // without it the server is asked
	return rec
}
