package amqp

import "github.com/selvedge-mq/selvedge/protocols"

// load is what a connection has under way at the engine.
type load struct {
	sends   int          // not judged yet
	bytes   int          // their payloads
	held    bool         // the engine said that it has enough
	waiters []*receiving // links whose credit waits
	windows []*session   // that are low and wait while it is held
}

func (o *load) begin(size int) {
	o.sends++
	o.bytes += size
}

func (o *load) end(size int) {
	o.sends--
	o.bytes -= size
	if o.sends == 0 {
		o.held = false
	}
}

// full reports whether no more may be sent: the engine said so, until all that
// is under way is judged, or a limit of the connection is reached.
func (o *load) full(l protocols.Limits) bool {
	return o.held || o.sends >= l.InFlight || o.bytes >= l.InFlightBytes
}

// wait keeps a link whose credit waits until there is room.
func (o *load) wait(l *receiving) { o.waiters = append(o.waiters, l) }

// settleLoad goes on with what waited for the engine.
func (c *conn) settleLoad() {
	if len(c.load.waiters) > 0 && !c.load.full(c.f.o.Env.Limits) {
		waiters := c.load.waiters
		c.load.waiters = nil
		for _, l := range waiters {
			if l.phase == linkAttached {
				l.owe()
			}
		}
	}
	if !c.load.held {
		for _, s := range c.load.windows {
			s.mark()
		}
		c.load.windows = nil
	}
	c.settleState()
}
