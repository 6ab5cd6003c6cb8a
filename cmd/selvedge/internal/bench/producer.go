package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/selvedge-mq/selvedge/cmd/selvedge/internal/endpoint"
)

var errOver = errors.New("all messages are sent")

// producer sends numbered messages and waits for their confirmations.
type producer struct {
	b       *Bench
	number  int
	quota   uint64 // messages to send; 0: no limit
	account *account
	window  *window // nil: no confirmations are asked for
	body    []byte
	next    uint64 // of a producer without a window
	idle    *time.Timer

	sent       atomic.Uint64
	confirmed  atomic.Uint64
	refused    atomic.Uint64
	resent     atomic.Uint64
	reconnects atomic.Uint64
	latency    latency
	confirms   timeline
}

func newProducer(b *Bench, number int) *producer {
	o := &b.opts
	p := &producer{b: b, number: number, account: b.ledger.account(uint32(number)), body: newBody(o.Size)}
	p.quota = uint64(o.Count) / uint64(o.Producers)
	if uint64(number) < uint64(o.Count)%uint64(o.Producers) {
		p.quota++
	}
	if o.Window > 0 {
		p.window = newWindow(o.Window)
	}
	return p
}

// run sends until the quota is used up or sending is over, then waits for the
// confirmations that are still open.
func (p *producer) run(ctx, sending context.Context) {
	if p.b.opts.Count > 0 && p.quota == 0 {
		return
	}
	p.idle = time.NewTimer(p.b.opts.Patience)
	defer p.idle.Stop()
	d := p.b.opts.driver(p.b.opts.Protocol)
	alive := p.b.since() // when something was confirmed last
	for attempt := 0; ; attempt++ {
		before := p.confirmed.Load()
		server := p.b.opts.Servers[(p.number+int(p.reconnects.Load())+attempt)%len(p.b.opts.Servers)]
		err := p.session(ctx, sending, d, server)
		if err == nil || ctx.Err() != nil {
			return
		}
		p.b.failures.add(fmt.Errorf("producer on %s: %w", endpoint.Shown(server), err))
		if p.confirmed.Load() > before {
			alive, attempt = p.b.since(), 0
		}
		if !p.b.opts.Reconnect || p.b.since()-alive > p.b.opts.Patience {
			return
		}
		redial(ctx, attempt)
		p.reconnects.Add(1)
	}
}

// session sends over one connection. It returns nil when all is sent and
// confirmed.
func (p *producer) session(ctx, sending context.Context, d driver, server string) error {
	dialing, cancel := context.WithTimeout(ctx, p.b.opts.Patience)
	out, err := d.produce(dialing, server, p)
	cancel()
	if err != nil {
		return err
	}
	if err := p.pump(ctx, sending, out); err != nil {
		err = brokerSays(out, err)
		out.abort()
		return err
	}
	closeCtx, cancel := closing(ctx)
	defer cancel()
	return out.close(closeCtx)
}

// brokerSays returns why a connection ended: what the broker said, if it said
// something before a write failed.
func brokerSays(l link, err error) error {
	if _, ok := errors.AsType[*net.OpError](err); !ok {
		return err
	}
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-l.done():
		return l.err()
	case <-t.C:
		return err
	}
}

func (p *producer) pump(ctx, sending context.Context, out outlet) error {
	if p.window != nil {
		for _, u := range p.window.open() {
			p.resent.Add(1)
			if err := p.send(ctx, out, u.seq, u.sent, true); err != nil {
				return err
			}
		}
	}
	for {
		seq, now, err := p.take(sending, out)
		if errors.Is(err, errOver) {
			break
		}
		if err != nil {
			return err
		}
		if err := p.send(ctx, out, seq, now, false); err != nil {
			return err
		}
	}
	for p.window != nil && !p.window.empty() {
		if err := p.await(ctx, out); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// take waits until the next message may be sent and returns its number and
// time; errOver when there is none.
func (p *producer) take(sending context.Context, out outlet) (uint64, int64, error) {
	if sending.Err() != nil || p.quota > 0 && p.sent.Load() >= p.quota {
		return 0, 0, errOver
	}
	if p.b.pace != nil && p.b.pace.Wait(sending) != nil {
		return 0, 0, errOver
	}
	for {
		now := p.b.now()
		if p.window == nil {
			p.next++
			return p.next - 1, now, nil
		}
		if seq, ok := p.window.reserve(now); ok {
			return seq, now, nil
		}
		if err := p.await(sending, out); err != nil {
			if sending.Err() != nil {
				return 0, 0, errOver
			}
			return 0, 0, err
		}
	}
}

// await waits until the window moves.
func (p *producer) await(ctx context.Context, out outlet) error {
	p.idle.Reset(p.b.opts.Patience)
	select {
	case <-p.window.changed:
		return nil
	case <-out.done():
		return out.err()
	case <-ctx.Done():
		return ctx.Err()
	case <-p.idle.C:
		return fmt.Errorf("no confirmation for %v", p.b.opts.Patience)
	}
}

func (p *producer) send(ctx context.Context, out outlet, seq uint64, sent int64, again bool) error {
	stamp{run: p.b.run, producer: uint32(p.number), seq: seq, sent: sent}.write(p.body)
	p.account.send(seq, again)
	if !again {
		p.sent.Add(1)
	}
	queue := (uint64(p.number) + seq) % uint64(p.b.opts.Queues)
	if err := out.send(ctx, int(queue), seq, p.body); err != nil {
		return err
	}
	if p.window == nil {
		p.account.expect(seq)
	}
	return nil
}

// confirm implements confirmer.
func (p *producer) confirm(seq uint64, err error) {
	if p.window == nil {
		return
	}
	if err == nil {
		p.account.expect(seq)
	}
	sent, first := p.window.settle(seq)
	if !first {
		return
	}
	if err != nil {
		p.refused.Add(1)
		p.b.failures.add(fmt.Errorf("refused: %w", err))
		return
	}
	p.confirmed.Add(1)
	now := p.b.since()
	p.latency.record(p.b.start.UnixNano() + int64(now) - sent)
	p.confirms.mark(now)
	p.b.confirms.mark(now)
}
