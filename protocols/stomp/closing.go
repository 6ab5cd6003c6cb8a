package stomp

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/selvedge-mq/selvedge/protocols"
)

// statusCloser is the ability of a WebSocket to say why it ends.
type statusCloser interface{ CloseWith(status int) error }

// Why a WebSocket ends, but for an orderly end. [RFC 6455 7.4.1]
const (
	statusGoing  = 1001 // the node stops
	statusBroken = 1002 // no frames of STOMP
	statusTooBig = 1009 // beyond a limit
)

// linger drops what the client still sends, so that the last frames are not
// lost to a reset of the connection. A client that floods is not read any more then, but
// has the rest of the time to read them.
func (c *conn) linger() {
	if _, err := io.CopyN(io.Discard, c.nc, lingerBytes); err == nil {
		<-c.over
	}
}

// close closes the connection; a WebSocket says why.
func (c *conn) close() error {
	status := 0
	if w, ok := errors.AsType[*wireError](c.m.cause); ok {
		status = w.status
	} else if errors.Is(c.m.cause, protocols.ErrDraining) {
		status = statusGoing
	}
	if s, ok := c.nc.(statusCloser); ok && status != 0 {
		return s.CloseWith(status)
	}
	return c.nc.Close()
}

// shut ends the goroutines. A graceful end gives the client the time to read
// what was written.
func (c *conn) shut(graceful bool) {
	c.m.closeSession()
	c.m.count()
	c.over = make(chan struct{})
	over := sync.OnceFunc(func() { close(c.over) })
	close(c.discard)
	if graceful && c.half != nil && !c.ended && c.half.CloseWrite() == nil {
		t := time.AfterFunc(lingerTime, func() {
			_ = c.nc.Close()
			over()
		})
		c.wg.Wait()
		t.Stop()
	}
	_ = c.close() // the client is told what there was to tell
	over()
	c.wg.Wait()
	for _, e := range c.events.Take(nil) {
		if e.session != nil {
			e.session.Close()
		}
	}
	c.claim.drop()
	if c.batch != nil {
		c.dropBatch()
	}
}
