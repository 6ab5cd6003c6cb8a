package amqp

import (
	"context"
	"errors"
	"fmt"

	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
)

// handler deals with one performative; payload is the rest of a transfer's
// frame. What it returns was not dealt with by a session or link yet.
type handler func(c *conn, ctx context.Context, channel uint16, p frames.Performative, payload []byte) *breach

// handlers is the dispatch table, by descriptor.
var handlers = [...]handler{
	frames.CodeOpen: func(c *conn, _ context.Context, ch uint16, p frames.Performative, _ []byte) *breach {
		return c.onOpen(ch, p.(*frames.Open))
	},
	frames.CodeBegin: func(c *conn, ctx context.Context, ch uint16, p frames.Performative, _ []byte) *breach {
		return c.onBegin(ctx, ch, p.(*frames.Begin))
	},
	frames.CodeAttach: inSession(func(s *session, p *frames.Attach, _ []byte) *breach {
		return s.onAttach(p)
	}),
	frames.CodeFlow: inSession(func(s *session, p *frames.Flow, _ []byte) *breach {
		return s.onFlow(p)
	}),
	frames.CodeTransfer: inSession(func(s *session, p *frames.Transfer, payload []byte) *breach {
		return s.onTransfer(p, payload)
	}),
	frames.CodeDisposition: inSession(func(s *session, p *frames.Disposition, _ []byte) *breach {
		return s.onDisposition(p)
	}),
	frames.CodeDetach: inSession(func(s *session, p *frames.Detach, _ []byte) *breach {
		return s.onDetach(p)
	}),
	frames.CodeEnd: func(c *conn, _ context.Context, ch uint16, _ frames.Performative, _ []byte) *breach {
		return c.onEnd(ch)
	},
	frames.CodeClose: func(c *conn, _ context.Context, _ uint16, p frames.Performative, _ []byte) *breach {
		return c.onClose(p.(*frames.Close))
	},
}

// inSession makes a handler of a method of the session that the channel names.
// Frames for a session whose end is out are dropped. [transport 2.5.5]
func inSession[P frames.Performative](do func(s *session, p P, payload []byte) *breach) handler {
	return func(c *conn, _ context.Context, channel uint16, p frames.Performative, payload []byte) *breach {
		s := c.session(channel)
		if s == nil {
			return connectionError(frames.FramingError, "%s on channel %d, which has no session", frames.Name(p), channel)
		}
		if s.phase != sessionLive {
			c.dropped(p)
			return nil
		}
		b := do(s, p.(P), payload)
		if b != nil && b.level == onSession {
			s.fail(b.wire)
			return nil
		}
		return b
	}
}

// dropped takes note of a frame that is not looked at any more.
func (c *conn) dropped(p frames.Performative) {
	switch p := p.(type) {
	case *frames.Transfer:
		c.miss(&p.State, missed())
	case *frames.Disposition:
		c.miss(&p.State, missed())
	}
}

// dispatch decodes a frame and passes it to its handler.
func (c *conn) dispatch(ctx context.Context, in *inbound) {
	if len(in.body) == 0 {
		return // a heartbeat, on any channel
	}
	p, payload, err := c.scratch().decoder.Decode(frames.TypeAMQP, in.body)
	if err != nil {
		c.fail(decodeBreach(err))
		return
	}
	c.trace(false, in.channel, p, len(payload))
	code := p.Code()
	switch {
	case c.state >= closeSent && code != frames.CodeClose:
		return // [transport 2.4.6] DISCARDING
	case c.state == waiting && code != frames.CodeOpen && code != frames.CodeClose:
		c.fail(connectionError(frames.IllegalState, "%s before open", frames.Name(p)))
		return
	case c.state == closing:
		return // the peer may send nothing behind its close
	}
	if b := handlers[code](c, ctx, in.channel, p, payload); b != nil {
		c.fail(b)
	}
}

// decodeBreach is what the peer is told of bytes that cannot be decoded.
func decodeBreach(err error) *breach {
	if d, ok := errors.AsType[*frames.DecodeError](err); ok {
		return &breach{onConnection, d.Wire()}
	}
	return connectionError(frames.DecodeFailed, "%v", err)
}

// inputEnded deals with the end of the input: bytes that are no frame, behind
// which nothing can be read any more, or the end of the stream.
func (c *conn) inputEnded(err error) {
	var b *breach
	var d *frames.DecodeError
	switch {
	case c.state == ended:
		return
	case errors.As(err, &b), errors.As(err, &d):
		if b == nil {
			b = decodeBreach(err)
		}
		c.fail(b)
		c.deaf = true
	case c.state == closing:
		c.answerClose()
	default:
		if c.err == nil {
			c.err = fmt.Errorf("amqp: connection lost: %w", err)
		}
		c.broken = true
	}
	c.state = ended
}
