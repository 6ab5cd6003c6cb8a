package amqpclient

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// connect exchanges the headers, SASL, open and begin.
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
	if err := c.login(opts); err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	if err := c.open(addr); err != nil {
		return fmt.Errorf("open: %w", err)
	}
	return c.nc.SetDeadline(time.Time{})
}

// header exchanges a protocol header. [transport 2.2]
func (c *Conn) header(id byte) error {
	want := [8]byte{'A', 'M', 'Q', 'P', id, 1, 0, 0}
	if _, err := c.nc.Write(want[:]); err != nil {
		return err
	}
	var got [8]byte
	if _, err := io.ReadFull(c.reader.in, got[:]); err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("the header was answered by %q, want %q", got, want)
	}
	return nil
}

// login sends the mechanism and what it needs at once. [security 5.3]
func (c *Conn) login(opts Options) error {
	const headerSASL = 3
	if err := c.header(headerSASL); err != nil {
		return err
	}
	if _, err := c.expect(descMechanisms); err != nil {
		return err
	}
	e := frame(nil, typeSASL, descInit)
	if opts.User == "" {
		e.symbol("ANONYMOUS")
		e.binary([]byte("selvedge bench"))
	} else {
		e.symbol("PLAIN")
		e.binary([]byte("\x00" + opts.User + "\x00" + opts.Password))
	}
	if _, err := c.nc.Write(e.done(2)); err != nil {
		return err
	}
	outcome, err := c.expect(descOutcome)
	if err != nil {
		return err
	}
	var fields [1]value
	if err := outcome.fields(fields[:]); err != nil {
		return err
	}
	if code := fields[0].number(0); code != 0 {
		return errors.New("the broker refuses the user or the password")
	}
	return nil
}

// open opens the connection and begins the session.
// [transport 2.7.1, 2.7.2]
func (c *Conn) open(addr string) error {
	if err := c.header(0); err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	e := frame(nil, typeAMQP, descOpen)
	e.string("selvedge-bench-" + rand.Text())
	e.string(host)
	e.uint(maxFrame)
	b := e.done(3)
	e = frame(b, typeAMQP, descBegin)
	e.null() // remote-channel
	e.uint(0)
	e.uint(window)
	e.uint(window)
	if _, err := c.nc.Write(e.done(4)); err != nil {
		return err
	}
	var fields [5]value
	open, err := c.expect(descOpen)
	if err == nil {
		err = open.fields(fields[:])
	}
	if err != nil {
		return err
	}
	c.largest = int(min(fields[2].number(maxFrame), maxFrame))
	c.idle = time.Duration(fields[4].number(0)) * time.Millisecond
	begin, err := c.expect(descBegin)
	if err == nil {
		err = begin.fields(fields[:])
	}
	c.nextIn, c.windowOut = uint32(fields[1].num), uint32(fields[2].num)
	return err
}

// expect reads a frame with that performative.
func (c *Conn) expect(performative uint64) (value, error) {
	for {
		f, err := c.reader.next()
		switch {
		case err != nil:
			return value{}, err
		case f.empty:
			continue
		case f.body.descriptor == performative:
			return f.body, nil
		case f.body.descriptor == descClose:
			return value{}, ended(f.body, 0, "closed the connection")
		}
		return value{}, fmt.Errorf("got the performative %#x, want %#x", f.body.descriptor, performative)
	}
}
