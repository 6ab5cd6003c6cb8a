package peers

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	answerers = 64      // answers worked on at once
	asksMost  = 256     // requests that wait for one of them
	askBytes  = 4 << 20 // longest request and answer

	askVersion = 1
	askHead    = 1 + 4 + 1 + 1 // version, milliseconds left, length of node and method

	answerGood  = 0
	answerError = 1
)

// Errors of Ask.
var (
	// ErrUnreachable says that no node of that name listens.
	ErrUnreachable = errors.New("peers: node cannot be reached")
	// ErrTooLarge says that a request is longer than 4 MiB, or than the
	// server's max_payload allows.
	ErrTooLarge = errors.New("peers: request is too large")
	// ErrClosed says that the Peers are closed.
	ErrClosed = errors.New("peers: closed")

	errAskForm = errors.New("peers: malformed request or answer")
)

// AnswerError is the error that another node answered.
type AnswerError struct {
	// Node is the node that answered.
	Node string
	// Method is what it was asked.
	Method string
	// Text is its error's text.
	Text string
}

// Error returns the text with where it came from.
func (e *AnswerError) Error() string {
	return fmt.Sprintf("peers: %s of node %s: %s", e.Method, e.Node, e.Text)
}

// request is an Ask on its way.
type request struct {
	left         uint32 // milliseconds that the asker will wait
	from, method string
	body         []byte
}

// encode returns r's bytes.
func (r *request) encode() []byte {
	b := make([]byte, 0, askHead+len(r.from)+len(r.method)+len(r.body))
	b = append(b, askVersion)
	b = binary.BigEndian.AppendUint32(b, r.left)
	b = append(b, byte(len(r.from)), byte(len(r.method))) //nolint:gosec // both are bounded
	b = append(b, r.from...)
	b = append(b, r.method...)
	return append(b, r.body...)
}

// parseRequest reads a request; its body shares memory with b.
func parseRequest(b []byte) (request, error) {
	if len(b) < askHead || b[0] != askVersion {
		return request{}, errAskForm
	}
	from, method := int(b[5]), int(b[6])
	rest := b[askHead:]
	if from == 0 || len(rest) < from+method {
		return request{}, errAskForm
	}
	return request{
		left: binary.BigEndian.Uint32(b[1:]), from: string(rest[:from]),
		method: string(rest[from : from+method]), body: rest[from+method:],
	}, nil
}

// Ask implements engine.Peers. The node need not be up yet. An error that the
// node answered is an *AnswerError; ErrUnreachable means that nobody listens
// there; with any other error it is unknown whether the node did as asked.
func (p *Peers) Ask(ctx context.Context, to, method string, req []byte) ([]byte, error) {
	if len(method) > maxNode {
		return nil, fmt.Errorf("peers: the method's name has more than %d bytes", maxNode)
	}
	if len(req) > askBytes || askHead+2*maxNode+len(req) > p.largest {
		return nil, ErrTooLarge
	}
	select {
	case <-p.done:
		return nil, ErrClosed
	default:
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(p.askTimeout)
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	left := max(time.Until(deadline).Milliseconds(), 1)
	r := request{left: uint32(min(left, 1<<31)), from: p.node, method: method, body: req}
	m, err := p.conn.RequestWithContext(ctx, subjectOf(to, "ask"), r.encode())
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, fmt.Errorf("ask %s of node %s: %w", method, to, ErrUnreachable)
	case err != nil:
		return nil, fmt.Errorf("ask %s of node %s: %w", method, to, err)
	case len(m.Data) == 0:
		return nil, fmt.Errorf("ask %s of node %s: %w", method, to, errAskForm)
	case m.Data[0] == answerGood:
		return m.Data[1:], nil
	}
	return nil, &AnswerError{Node: to, Method: method, Text: string(m.Data[1:])}
}

// asked hands a request to the answerers. When too many wait the answer is an
// error, at once.
func (p *Peers) asked(m *nats.Msg) {
	if !p.started.Load() {
		p.reply(m, answerError, []byte("node is starting"))
		return
	}
	select {
	case p.asks <- m:
	default:
		p.reply(m, answerError, []byte("node is busy"))
	}
}

// answer is one of the goroutines that answer requests.
func (p *Peers) answer(ctx context.Context) {
	for {
		select {
		case <-p.done:
			return
		case m := <-p.asks:
			p.answerOne(ctx, m)
		}
	}
}

// answerOne answers a request, within the time that the asker waits.
func (p *Peers) answerOne(ctx context.Context, m *nats.Msg) {
	r, err := parseRequest(m.Data)
	if err != nil {
		p.stats.malformed.Inc()
		p.reply(m, answerError, []byte(err.Error()))
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(r.left)*time.Millisecond)
	defer cancel()
	res, err := p.handler.Answer(ctx, r.from, r.method, r.body)
	switch {
	case err != nil:
		text := err.Error()
		p.reply(m, answerError, []byte(text[:min(len(text), askBytes, p.largest)]))
	case len(res) > askBytes || len(res) > p.largest:
		p.reply(m, answerError, []byte("answer is too large"))
	default:
		p.reply(m, answerGood, res)
	}
}

// reply publishes an answer.
func (p *Peers) reply(m *nats.Msg, status byte, body []byte) {
	if m.Reply == "" {
		return
	}
	b := make([]byte, 0, 1+len(body))
	b = append(b, status)
	p.post(m.Reply, append(b, body...))
}
