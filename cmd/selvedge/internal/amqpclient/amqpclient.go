// Package amqpclient is a small AMQP 1.0 client made for load: transfers and
// dispositions are written in batches, confirmations are pipelined, and what
// arrives is parsed without an allocation per message. It shares no code with
// the broker's front-end, so that a mistake there is not repeated here.
package amqpclient

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/selvedge-mq/selvedge/cmd/selvedge/internal/batch"
)

const (
	// maxFrame is the largest frame that is accepted and, if the broker lets us,
	// sent.
	maxFrame = 128 << 10
	// maxMessage is the largest message that is accepted.
	maxMessage = 128 << 20
	// window is the session's incoming window: credit is what bounds deliveries.
	window = 1<<31 - 1
	// connectTimeout bounds the wait for the broker's open and begin if the
	// context sets no deadline.
	connectTimeout = 30 * time.Second
)

// ErrClosed is the error of a connection that was closed by its owner.
var ErrClosed = errors.New("the connection was closed")

// Error is an error of the protocol that the broker told.
type Error struct {
	Condition   string
	Description string
}

// Error returns the broker's words.
func (e *Error) Error() string {
	return fmt.Sprintf("the broker says: %s: %s", e.Condition, e.Description)
}

// Options are what Dial needs to know.
type Options struct {
	User     string // empty: anonymous
	Password string
	Patience time.Duration                               // how long Send waits for credit; 0 means 30 s
	Dial     func(ctx context.Context) (net.Conn, error) // nil: TCP to the address
}

// Handler is told what the broker sends. Its methods are called by the
// goroutine that runs Serve, and must not keep the bytes they are given.
type Handler interface {
	// Settled tells the outcome of a message: nil if it was accepted.
	Settled(token uint64, err error)
	// Message hands over a delivery. It counts as accepted when the method
	// returns.
	Message(l *Receiver, body []byte, redelivered bool)
}

// Conn is a connection with one session. Attach and Send may be used by one
// goroutine while another runs Serve.
type Conn struct {
	nc      net.Conn
	reader  *frameReader
	out     *batch.Writer
	served  chan struct{} // closed when Serve has returned
	beats   sync.WaitGroup
	idle    time.Duration // the broker wants a frame at least that often; 0: never
	largest int           // frame that the broker takes
	patient time.Duration // how long Send waits
	room    chan struct{} // has a value after credit or window came; capacity 1

	mu           sync.Mutex
	links        []*link // by our handle
	remote       map[uint32]*link
	pending      map[uint32]uint64 // tokens of unsettled transfers by delivery-id
	nextOut      uint32            // transfer-id of our next transfer
	nextDelivery uint32
	nextIn       uint32 // transfer-id of the broker's next transfer
	windowOut    uint32 // transfers that the broker will take
	unsettled    uint32 // deliveries since our last disposition
	firstIn      uint32 // delivery-id of the first of them
	lastIn       uint32 // and of the last
}

// Dial connects, logs in, opens and begins. The caller runs Serve and calls
// Close at the end.
func Dial(ctx context.Context, addr string, opts Options) (*Conn, error) {
	if opts.Patience == 0 {
		opts.Patience = connectTimeout
	}
	if opts.Dial == nil {
		opts.Dial = func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", addr) }
	}
	nc, err := opts.Dial(ctx)
	if err != nil {
		return nil, err
	}
	c := &Conn{
		nc: nc, reader: newFrameReader(nc, maxFrame), served: make(chan struct{}), room: make(chan struct{}, 1),
		patient: opts.Patience, remote: make(map[uint32]*link), pending: make(map[uint32]uint64),
	}
	if err := c.connect(ctx, addr, opts); err != nil {
		_ = nc.Close()
		return nil, err
	}
	c.out = batch.NewWriter(nc)
	if c.idle > 0 {
		c.beats.Go(c.beat)
	}
	return c, nil
}

// beat sends empty frames at half of the time that the broker allows, until
// Serve has returned. [transport 2.4.5]
func (c *Conn) beat() {
	t := time.NewTicker(c.idle / 2)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if c.out.Append(func(b []byte) []byte { return append(b, 0, 0, 0, frameHeader, 2, typeAMQP, 0, 0) }) != nil {
				return
			}
		case <-c.served:
			return
		}
	}
}

// Serve reads until the connection ends, and returns why; nil after Close.
func (c *Conn) Serve(h Handler) error {
	defer close(c.served)
	err := c.serve(h)
	c.out.Fail(cmp.Or(err, ErrClosed))
	return err
}

func (c *Conn) serve(h Handler) error {
	for {
		f, err := c.reader.next()
		switch {
		case errors.Is(err, io.EOF):
			return errors.New("the broker closed the connection")
		case err != nil:
			return err
		case f.empty:
			continue
		}
		closed, err := c.handle(h, f)
		if err != nil || closed {
			return err
		}
	}
}

// handle does what a performative asks for; true when it is the broker's close.
func (c *Conn) handle(h Handler, f received) (closed bool, err error) {
	switch f.body.descriptor {
	case descAttach:
		return false, c.onAttach(f.body)
	case descFlow:
		return false, c.onFlow(f.body)
	case descTransfer:
		return false, c.onTransfer(h, f.body, f.payload)
	case descDisposition:
		return false, c.onDisposition(h, f.body)
	case descDetach:
		return false, ended(f.body, 2, "detached the link")
	case descEnd:
		return false, ended(f.body, 0, "ended the session")
	case descClose:
		var fields [1]value
		if err := f.body.fields(fields[:]); err != nil {
			return true, err
		}
		return true, protocolError(fields[0])
	default:
		return false, fmt.Errorf("%w: unexpected performative %#x", ErrMalformed, f.body.descriptor)
	}
}

// ended is the error of a detach or end that nobody asked for; its error is the
// field with that index.
func ended(v value, index int, what string) error {
	var fields [3]value
	if err := v.fields(fields[:]); err != nil {
		return err
	}
	if err := protocolError(fields[index]); err != nil {
		return err
	}
	return errors.New("the broker " + what)
}

// protocolError reads an error; nil if there is none. [transport 2.8.14]
func protocolError(v value) error {
	if v.null() {
		return nil
	}
	var fields [2]value
	if err := v.fields(fields[:]); err != nil {
		return err
	}
	return &Error{Condition: fields[0].text(), Description: fields[1].text()}
}

// Close settles what was handed over, sends close, waits for the broker's until
// ctx ends, and closes the connection. It needs Serve to be running or done. [transport 2.4.3]
func (c *Conn) Close(ctx context.Context) error {
	err := c.accept()
	if err == nil {
		err = c.out.Append(func(b []byte) []byte {
			e := frame(b, typeAMQP, descClose)
			return e.done(0)
		})
	}
	if err == nil {
		select {
		case <-c.served:
		case <-ctx.Done():
			err = fmt.Errorf("wait for the broker's close: %w", ctx.Err())
		}
	}
	c.Abort()
	return err
}

// Abort closes the connection without a word. It needs Serve to be running or
// done.
func (c *Conn) Abort() {
	c.out.Fail(ErrClosed)
	c.out.Wait()
	<-c.served
	c.beats.Wait()
}
