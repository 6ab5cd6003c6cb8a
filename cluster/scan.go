package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/selvedge-mq/selvedge/routing/engine"
)

// Bounds of a batch of records: it must stay far below what the server keeps for
// a connection.
const (
	scanBatch = 4096
	scanBytes = 4 << 20
	// firstBytes bounds the first one: many a scan ends in it.
	firstBytes = 2 << 20
)

// firstAnswer is how long a read waits before it asks again: the server gives it
// to any replica, also to one whose node stands still or is cut off. Each time
// without an answer doubles it, up to lastAnswer: a busy disk may need that long for
// one large record, and who never waits that long never gets it.
const (
	firstAnswer = 50 * time.Millisecond
	lastAnswer  = 5 * time.Second
)

// scanPatience is how long a scan goes on without any progress.
const scanPatience = 30 * time.Second

// headerSequence is the header that holds a record's sequence.
const headerSequence = nats.JSSequence

// Statuses of a batch.
const (
	statusEnd      = "204"
	statusNotFound = "404"
)

// errGone ends a batch whose first record is not there.
var errGone = errors.New("the record is not there")

// record is one record on its way through a scan.
type record struct {
	seq uint64
	rec []byte
}

// fetcher sends the records from from to last to out, batch by batch, without a
// gap. It may wait for more between the first batch and the second, and use the memory
// of a batch again when the next one was received.
type fetcher func(ctx context.Context, from, last uint64, out chan<- []record, more <-chan struct{}) error

// scan calls f for the records from from to last. The next batch is fetched
// while f works on one, but for the first from the server: who wants a record and
// some behind it does not have the server read what nobody takes.
func (l *shardLog) scan(ctx context.Context, from, last uint64, fetch fetcher, f func(seq uint64, rec []byte) error) error {
	if from > last {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	batches := make(chan []record) // closed by the fetcher
	more := make(chan struct{}, 1) // f is done with the first batch
	fetched := make(chan error, 1)
	go func() {
		defer close(batches)
		fetched <- fetch(ctx, from, last, batches, more)
	}()
	var err error
	for batch := range batches {
		if err == nil {
			err = eachRecord(batch, f)
		}
		if err != nil {
			cancel() // the rest is dropped
		}
		nudge(more)
	}
	cancel()
	if ferr := <-fetched; err == nil {
		err = l.noteDamage(ferr)
	}
	return err
}

func eachRecord(batch []record, f func(seq uint64, rec []byte) error) error {
	for _, r := range batch {
		if err := f(r.seq, r.rec); err != nil {
			return err
		}
	}
	return nil
}

// fetch is the fetcher that asks the server.
func (l *shardLog) fetch(ctx context.Context, from, last uint64, out chan<- []record, more <-chan struct{}) error {
	inbox := nats.NewInbox() + "."
	sub, err := l.nc.SubscribeSync(inbox + "*")
	if err != nil {
		return fmt.Errorf("scan of %s: %w", l.stream, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only on a closed connection
	wait, progress, patience, size := backoff{}, time.Now(), firstAnswer, firstBytes
	var gone time.Time // since when the next record is not there
	for try := 0; from <= last; try++ {
		reply := inbox + strconv.Itoa(try)
		batch, err := l.fetchBatch(ctx, sub, reply, from, last, size, patience)
		patience = min(2*patience, lastAnswer)
		if len(batch) > 0 {
			l.app.metrics.read(fromServer, batch)
			from += uint64(len(batch))
			wait.reset()
			patience = firstAnswer
			progress = time.Now()
			if !pass(ctx, out, batch, size == firstBytes, more) {
				return fmt.Errorf("scan of %s: %w", l.stream, ctx.Err())
			}
			size = scanBytes
		}
		if cerr := ctx.Err(); cerr != nil {
			return fmt.Errorf("scan of %s: %w", l.stream, cerr)
		}
		if err == nil {
			gone = time.Time{}
			continue
		}
		switch {
		case !errors.Is(err, errGone):
			gone = time.Time{}
		case gone.IsZero() || len(batch) > 0:
			gone = time.Now()
		}
		if err := l.mayGoOn(ctx, from, err, progress, gone); err != nil {
			return err
		}
		if err := wait.sleep(ctx); err != nil {
			return fmt.Errorf("scan of %s: %w", l.stream, err)
		}
	}
	return nil
}

// pass sends a batch and, if it is the first, waits for more. It reports whether
// anybody wants the next one.
func pass(ctx context.Context, out chan<- []record, batch []record, first bool, more <-chan struct{}) bool {
	select {
	case out <- batch:
	case <-ctx.Done():
	}
	if first {
		select {
		case <-more:
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}

// mayGoOn judges why a batch ended early: it returns nil if the rest may be
// asked for again. progress is when a record came last, gone since when the next
// one is not there, if that is so.
func (l *shardLog) mayGoOn(ctx context.Context, from uint64, cause error, progress, gone time.Time) error {
	if l.closed.Load() {
		return ErrClosed
	}
	first, _, err := l.Bounds(ctx)
	switch {
	case errors.Is(cause, ErrDamaged):
		return cause
	case err == nil && from < first:
		return fmt.Errorf("scan of %s at %d: %w", l.stream, from, engine.ErrPurged)
	case !gone.IsZero() && time.Since(gone) > tryTimeout:
		// a replica that lags would have caught up
		return fmt.Errorf("%w: %s has no record %d", ErrDamaged, l.stream, from)
	case time.Since(progress) > scanPatience:
		return fmt.Errorf("scan of %s at %d: %w", l.stream, from, cause)
	}
	return nil
}

// readOne asks for one record, once, and not for long. It returns nil when that
// did not succeed, for whatever reason.
func (l *shardLog) readOne(ctx context.Context, seq uint64) []byte {
	req, err := json.Marshal(server.JSApiMsgGetRequest{Seq: seq})
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, firstAnswer)
	defer cancel()
	m, err := l.nc.RequestWithContext(ctx, apiPrefix+"DIRECT.GET."+l.stream, req)
	if err != nil || m.Header.Get(statusHeader) != "" || m.Header.Get(headerSequence) != strconv.FormatUint(seq, 10) {
		return nil
	}
	if m.Data == nil {
		m.Data = []byte{}
	}
	if l.intactOr(seq, m.Data) != nil {
		return nil
	}
	return m.Data
}

// fetchBatch asks for the next records and returns those that came in sequence,
// with the error that ended the batch early. It waits for the first one no longer
// than patience, and for size bytes at most.
func (l *shardLog) fetchBatch(
	ctx context.Context, sub *nats.Subscription, reply string, from, last uint64, size int, patience time.Duration,
) ([]record, error) {
	want := int(min(last-from+1, scanBatch))
	req, err := json.Marshal(server.JSApiMsgGetRequest{Seq: from, Batch: want, MaxBytes: size})
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	if err := l.nc.PublishRequest(apiPrefix+"DIRECT.GET."+l.stream, reply, req); err != nil {
		return nil, err
	}
	batch := make([]record, 0, want)
	for {
		m, err := nextMsg(ctx, sub, patience)
		if err != nil {
			return batch, err
		}
		if m.Subject != reply {
			continue // of a batch that was given up
		}
		patience = tryTimeout
		switch m.Header.Get(statusHeader) {
		case "":
		case statusEnd:
			return batch, nil
		case statusNotFound:
			return batch, errGone
		case statusNoReply:
			return batch, ErrNoLeader
		default:
			return batch, fmt.Errorf("status %s %s", m.Header.Get(statusHeader), m.Header.Get("Description"))
		}
		seq, err := strconv.ParseUint(m.Header.Get(headerSequence), 10, 64)
		if err != nil {
			return batch, fmt.Errorf("decode a record's sequence: %w", err)
		}
		if next := from + uint64(len(batch)); seq != next {
			return batch, fmt.Errorf("%w: got %d, want %d", errGone, seq, next)
		}
		if m.Data == nil {
			m.Data = []byte{}
		}
		if err := l.intactOr(seq, m.Data); err != nil {
			return batch, err
		}
		batch = append(batch, record{seq, m.Data})
	}
}

// nextMsg waits for one message of a batch.
func nextMsg(ctx context.Context, sub *nats.Subscription, patience time.Duration) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return sub.NextMsgWithContext(ctx)
}
