package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Times of the calls to the embedded server.
const (
	tryTimeout  = time.Second // for one answer
	retryMin    = 5 * time.Millisecond
	retryMax    = 250 * time.Millisecond
	callTimeout = 30 * time.Second       // for a call whose context has no deadline
	askPatience = 500 * time.Millisecond // for the answers of all nodes
)

// apiPrefix is the subject that the embedded server's requests begin with.
const apiPrefix = "$JS.API."

// store is how a node reaches the streams that hold the logs: what it has itself
// by a call, all others by requests.
type store struct {
	srv *server.Server
	nc  *nats.Conn // for reads and requests, not for appends
	app *appender
	// dir is the data folder, empty without storage.
	dir string
	// check says whether a record is undamaged; nil: it is.
	check func(rec []byte) error
}

// local returns what this node's replica of a stream says of itself.
func (s *store) local(stream string) (server.StreamDetail, bool) {
	acc, err := s.srv.JszAccount(&server.JSzOptions{Account: account, Streams: true})
	if err != nil {
		return server.StreamDetail{}, false // a front-only node, or one that stops
	}
	for _, d := range acc.Streams {
		if d.Name == stream {
			return d, true
		}
	}
	return server.StreamDetail{}, false
}

// call makes an idempotent request to whoever is responsible for it, again and
// again until it is answered: requests vanish while a leader changes. resp holds
// the answer, api is the part of it that all answers share.
func (s *store) call(ctx context.Context, op string, req, resp any, api *server.ApiResponse) error {
	body, err := encode(req)
	if err != nil {
		return err
	}
	ctx, cancel := withDefaultTimeout(ctx, callTimeout)
	defer cancel()
	wait := backoff{}
	for {
		err := s.try(ctx, op, body, resp, api)
		if err == nil || !retryable(err) {
			return err
		}
		if werr := wait.sleep(ctx); werr != nil {
			return errors.Join(werr, err)
		}
	}
}

// try makes a request once.
func (s *store) try(ctx context.Context, op string, body []byte, resp any, api *server.ApiResponse) error {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	m, err := s.nc.RequestWithContext(ctx, apiPrefix+op, body)
	if err != nil {
		return err
	}
	*api = server.ApiResponse{}
	if err := json.Unmarshal(m.Data, resp); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	if api.Error != nil {
		return api.Error
	}
	return nil
}

// encode returns a request's body, empty for none.
func encode(req any) ([]byte, error) {
	if req == nil {
		return nil, nil
	}
	b, err := json.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return b, nil
}

// retryable says whether an error may go away by itself.
func retryable(err error) bool {
	if e, ok := errors.AsType[*server.ApiError](err); ok {
		return e.Code == 503 || e.Code == 408
	}
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrTimeout) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrDisconnected) ||
		errors.Is(err, nats.ErrReconnectBufExceeded)
}

// withDefaultTimeout gives a context a deadline if it has none.
func withDefaultTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, d)
}

// backoff is the growing wait between tries; the zero value is the first one.
type backoff struct{ next time.Duration }

// reset starts again with the shortest wait.
func (b *backoff) reset() { b.next = 0 }

// sleep waits, or returns the context's error when that ends first.
func (b *backoff) sleep(ctx context.Context) error {
	b.next = min(max(2*b.next, retryMin), retryMax)
	return pause(ctx, b.next)
}

// pause waits, or returns the context's error when that ends first.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// nudge wakes who receives from c, if that is not due already.
func nudge(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// hear calls f with each message to a subject, until the connection ends.
func (s *store) hear(subject, what string, f nats.MsgHandler) error {
	if _, err := s.nc.Subscribe(subject, f); err != nil {
		return fmt.Errorf("cluster: subscribe to %s: %w", what, err)
	}
	return nil
}

// askAll asks all nodes once, and hands over what comes, in turn, until take has
// enough or the time is over.
func askAll[A any](ctx context.Context, nc *nats.Conn, subject string, req any, take func(A) (enough bool)) error {
	body, err := encode(req)
	if err != nil {
		return err
	}
	sub, err := nc.SubscribeSync(nats.NewInbox())
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only on a closed connection
	if err := nc.PublishRequest(subject, sub.Subject, body); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return nil //nolint:nilerr // the time is over: what came is all
		}
		var answer A
		if json.Unmarshal(m.Data, &answer) == nil && take(answer) {
			return nil
		}
	}
}
