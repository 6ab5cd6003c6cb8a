// Package stompclient is a small STOMP 1.2 client made for load: frames are
// encoded into one buffer that a writer empties with as few system calls as
// possible, receipts are pipelined, and what arrives is parsed without an
// allocation per frame. It shares no code with the broker's front-end, so that
// a mistake there is not repeated here.
package stompclient

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/selvedge-mq/selvedge/cmd/selvedge/internal/batch"
)

// connectTimeout bounds the wait for CONNECTED if the context sets no deadline.
const connectTimeout = 30 * time.Second

// goodbye is the receipt of the DISCONNECT frame.
const goodbye = "goodbye"

// ErrClosed is the error of a connection that was closed by its owner.
var ErrClosed = errors.New("the connection was closed")

// ServerError is what the broker said in an ERROR frame.
type ServerError struct {
	Message string // the header "message"
	Detail  string // the body, shortened
}

// Error returns the broker's words.
func (e *ServerError) Error() string {
	if e.Detail == "" || e.Detail == e.Message {
		return "the broker says: " + e.Message
	}
	return "the broker says: " + e.Message + ": " + e.Detail
}

// Options are what Dial needs to know. The zero value of a field means the
// default that stands beside it.
type Options struct {
	Login    string
	Passcode string
	MaxBody  int                                         // the longest body that is accepted, 128 MiB
	Dial     func(ctx context.Context) (net.Conn, error) // TCP to the address
}

// Handler is told what the broker sends. Its methods are called by the
// goroutine that runs Serve, and must not keep the bytes they are given.
type Handler interface {
	// Receipt tells that the frame with this receipt number was confirmed.
	Receipt(number uint64)
	// Message hands over a MESSAGE frame.
	Message(m Message)
}

// Message is a MESSAGE frame. Its slices are valid during the call of
// Handler.Message only.
type Message struct {
	Subscription []byte // the id given to Subscribe
	AckID        []byte // what Ack wants; empty in the ack mode auto
	Redelivered  bool
	Body         []byte
}

// Conn is a connection to a broker. Its methods may be used by several
// goroutines, but Serve by one alone.
type Conn struct {
	nc     net.Conn
	reader *Reader
	out    *batch.Writer
	served chan struct{} // closed when Serve has returned
}

// Dial connects and logs in. The caller runs Serve and calls Close at the end.
func Dial(ctx context.Context, addr string, opts Options) (*Conn, error) {
	if opts.Dial == nil {
		opts.Dial = func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", addr) }
	}
	nc, err := opts.Dial(ctx)
	if err != nil {
		return nil, err
	}
	c := &Conn{nc: nc, reader: NewReader(nc, opts.MaxBody), served: make(chan struct{})}
	if err := c.connect(ctx, addr, opts); err != nil {
		_ = nc.Close()
		return nil, err
	}
	c.out = batch.NewWriter(nc)
	return c, nil
}

// connect exchanges CONNECT and CONNECTED. [STOMP 1.2 CONNECT]
func (c *Conn) connect(ctx context.Context, addr string, opts Options) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(connectTimeout)
	}
	if err := c.nc.SetDeadline(deadline); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.nc.Close() })
	defer stop()
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	frame := []byte("CONNECT\naccept-version:1.2\nheart-beat:0,0\nhost:" + host + "\n")
	if opts.Login != "" { // as it is: CONNECT has no escapes [STOMP 1.2 Value Encoding]
		if strings.ContainsAny(opts.Login+opts.Passcode, "\r\n\x00") {
			return errors.New("CONNECT cannot express a line end in a login or passcode")
		}
		frame = append(frame, "login:"+opts.Login+"\npasscode:"+opts.Passcode+"\n"...)
	}
	if _, err := c.nc.Write(append(frame, "\n\x00"...)); err != nil {
		return fmt.Errorf("write CONNECT: %w", err)
	}
	f, err := c.reader.Next()
	if err != nil {
		return fmt.Errorf("read CONNECTED: %w", err)
	}
	switch string(f.Command) {
	case "CONNECTED":
	case "ERROR":
		return serverError(f)
	default:
		return fmt.Errorf("CONNECT was answered by %q", f.Command)
	}
	if v := f.Get("version"); string(v) != "1.2" {
		return fmt.Errorf("the broker speaks STOMP %q, this client 1.2", v)
	}
	return c.nc.SetDeadline(time.Time{})
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
		f, err := c.reader.Next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return errors.New("the broker closed the connection")
			}
			return err
		}
		switch string(f.Command) {
		case "MESSAGE":
			h.Message(Message{
				Subscription: f.Get("subscription"),
				AckID:        f.Get("ack"),
				Redelivered:  string(f.Get("redelivered")) == "true",
				Body:         f.Body,
			})
		case "RECEIPT":
			id := f.Get("receipt-id")
			if string(id) == goodbye {
				return nil
			}
			number, err := strconv.ParseUint(string(id), 10, 64)
			if err != nil {
				return fmt.Errorf("a receipt that was never asked for: %q", id)
			}
			h.Receipt(number)
		case "ERROR":
			return serverError(f)
		default:
			return fmt.Errorf("unexpected frame %q", f.Command)
		}
	}
}

// Close sends DISCONNECT, waits for its receipt until ctx ends, and closes the
// connection. It needs Serve to be running or done. [STOMP 1.2 DISCONNECT]
func (c *Conn) Close(ctx context.Context) error {
	err := c.out.Append(func(b []byte) []byte {
		return append(b, "DISCONNECT\nreceipt:"+goodbye+"\n\n\x00"...)
	})
	if err == nil {
		select {
		case <-c.served:
		case <-ctx.Done():
			err = fmt.Errorf("wait for the receipt of DISCONNECT: %w", ctx.Err())
		}
	}
	c.Abort()
	<-c.served
	return err
}

// Abort closes the connection without a word.
func (c *Conn) Abort() {
	c.out.Fail(ErrClosed)
	c.out.Wait()
}

func serverError(f *Frame) error {
	const most = 300
	detail := f.Body
	if len(detail) > most {
		detail = detail[:most]
	}
	return &ServerError{Message: unescape(f.Get("message")), Detail: string(detail)}
}
