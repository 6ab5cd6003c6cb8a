package stomp

import (
	"bytes"
	"slices"

	"github.com/selvedge-mq/selvedge/internal/mailbox"
	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
	"github.com/selvedge-mq/selvedge/routing"
)

type state uint8

const (
	stateNew     state = iota // waits for CONNECT
	stateLogin                // the login is under way
	stateOpen                 // takes frames
	stateLeaving              // takes no more frames, waits for what is under way
	stateClosing              // the last octet is in out
)

// outHigh is how much encoded output waits for the writer before deliveries
// stay in the backlog; outFull is how much stops the reading.
const (
	outHigh = 64 << 10
	outFull = 1 << 20
)

// machine is a connection's state: frames, results and deliveries in, octets in
// out and requests to the session out. It has no goroutine and does no I/O.
type machine struct {
	fe        *Frontend
	sessionID string
	remote    string
	now       int64 // Unix milliseconds, as of the current round
	tracing   bool  // somebody looks at the frames, as of the current round

	results    routing.Completer
	deliveries *mailbox.Mailbox[delivery]
	events     *mailbox.Mailbox[event]
	login      func(l login, o routing.SessionOptions) // starts the login
	carried    protocols.Login                         // that the connection came with, until CONNECT; no user without

	state     state
	version   frame.Version
	session   routing.Session // nil before the login
	connected connectAnswer
	clientID  string
	claim     *claim // of the client-id; nil without
	user      string // of the login, then who it is
	beats     beats
	cause     error     // why the connection ends, nil for an orderly end
	farewell  *farewell // written when everything under way is done
	failing   bool      // the farewell waits for the end of a large message alone
	gone      bool      // the client went without a word
	goodbye   []byte    // receipt of DISCONNECT, written last; nil without
	out       []byte    // encoded frames for the writer, but for what is apart
	apart     []apart   // large payloads
	apartSize int       // theirs
	whole     bool      // nothing stands apart: each frame becomes a message

	pending   ring[pending]
	receipts  ring[receipt]
	ids       texts     // of the receipts
	sends     int       // under way
	sendBytes int       // theirs
	commits   int       // under way
	full      bool      // the session asked to wait for the own sends
	incoming  *incoming // the SEND that comes in pieces; nil without

	transactions map[string]*transaction
	expiry       int64 // when to look for idle ones, in Unix milliseconds; 0 is never
	temporaries  map[ownTemporary]routing.Address

	subs      map[subKey]*subscription
	parting   []*subscription // UNSUBSCRIBEd, whose last messages are not written
	subCount  uint32          // how many there were
	credit    int32           // prefetch of all
	kept      int             // octets of subscriptions and open transactions
	lenient   bool            // an acknowledgment may name a message that needs none
	acks      map[ackKey]ackPlace
	backlog   ring[delivery]
	held      int             // octets of the backlog
	short     []*subscription // have credit that there is no room for
	outgoing  *outgoing       // the MESSAGE that is written in pieces; nil without
	written   []*subscription // have messages in out that are not counted as written
	regranted []*subscription // have credit that the broker does not know of
	muted     bool            // the peer reads no more

	destinations map[string]destination
	envelope     routing.Envelope // scratch of SEND, as the next two
	headers      []byte
	payload      []byte
	received     int // since the last count
	delivered    int
}

// handlers is what each command does in the open state. Commands that only a
// server sends are not in it.
var handlers = [frame.Commands]func(*machine, *frame.Frame) error{
	frame.Connect:     (*machine).connect,
	frame.Stomp:       (*machine).connect,
	frame.Send:        (*machine).send,
	frame.Subscribe:   (*machine).subscribe,
	frame.Unsubscribe: (*machine).unsubscribe,
	frame.Ack:         (*machine).ack,
	frame.Nack:        (*machine).nack,
	frame.Begin:       (*machine).beginTransaction,
	frame.Commit:      (*machine).commit,
	frame.Abort:       (*machine).abort,
	frame.Disconnect:  (*machine).disconnect,
}

// frame deals with one frame of the client.
func (m *machine) frame(f *frame.Frame) {
	if f.Continued {
		m.goOn(f)
		return
	}
	if f.Command == frame.Unknown && m.fe.dialect.legacy {
		f.Command = legacyCommand(f.Name())
	}
	if m.tracing {
		m.traceIn(f)
	}
	err, fatal := m.admit(f), true
	if err == nil {
		err, fatal = handlers[f.Command](m, f), false
	}
	if err == nil {
		return
	}
	m.skip(f)
	receipt, ok := f.Get("receipt")
	if !fatal && m.keepsOpen() {
		m.refusedWithin(f)
		m.tell(err, string(receipt), ok)
		return
	}
	m.breach(err, string(receipt), ok)
}

// legacyCommand reads the words that ActiveMQ has always taken for SUBSCRIBE and
// UNSUBSCRIBE, because some clients shorten them: all that begin with SUB and UNSUB.
func legacyCommand(word []byte) frame.Command {
	switch {
	case bytes.HasPrefix(word, []byte("SUB")):
		return frame.Subscribe
	case bytes.HasPrefix(word, []byte("UNSUB")):
		return frame.Unsubscribe
	}
	return frame.Unknown
}

// admit reports whether the state allows a command.
func (m *machine) admit(f *frame.Frame) error {
	c := f.Command
	begins := c == frame.Connect || c == frame.Stomp
	switch {
	case c == frame.Unknown:
		return unknownCommand(f, "Unknown STOMP action: %s")
	case handlers[c] == nil:
		return unknownCommand(f, "received a frame that only a server sends: %s")
	case m.state == stateNew && !begins:
		return invalid("received an unexpected frame before CONNECT or STOMP frame: %s", c).titled(titleEarly, "You must log in using CONNECT first")
	case m.state != stateNew && begins:
		return invalid("received a duplicate CONNECT or STOMP frame").titled(titleEarly, "")
	case m.fe.dialect.strict && c != frame.Send && len(f.Body) > 0:
		return invalid("a body is not allowed in %s", c)
	}
	return nil
}

func unknownCommand(f *frame.Frame, format string) error {
	return invalid(format, f.Name()).titled(titleCommand, "Could not interpret command \"%s\"\n", f.Name())
}

// takesFrames reports whether the next frame may be dealt with now.
func (m *machine) takesFrames() bool {
	switch m.state {
	case stateNew:
		return true
	case stateOpen:
		return !m.throttled()
	case stateLogin, stateLeaving, stateClosing:
	}
	return false
}

// throttled reports whether the client must wait: for its sends under way, or
// until it reads what was answered.
func (m *machine) throttled() bool {
	l := &m.fe.limits
	if m.sends == 0 {
		m.full = false
	}
	if m.incoming != nil { // it holds a place in pending itself
		return m.incoming.waits(l.InFlightBytes) || m.encoded() >= outFull
	}
	return m.full || m.pending.len() >= l.InFlight || m.sendBytes+m.ids.len() >= l.InFlightBytes || m.encoded() >= outFull
}

// leave takes no more frames; the connection ends when the confirmations under
// way are there. What an auto subscription has in out is given back if the client is
// just gone; else it is consumed when it is written.
func (m *machine) leave(orderly bool) {
	m.gone = m.gone || !orderly
	if m.state >= stateLeaving {
		return
	}
	m.state = stateLeaving
	m.giveUp()
	if !orderly {
		m.breakOff()
		m.part()
	}
	m.stopDeliveries()
	if m.commits == 0 && m.outgoing == nil {
		m.partSession()
	}
	m.progress()
}

// stopDeliveries gives back what is not in out yet.
func (m *machine) stopDeliveries() {
	m.giveBack(nil)
	for _, s := range m.subs {
		s.closing = true
	}
}

// wrote says that n messages of an auto subscription are written: they are consumed,
// and others may take their place.
func (m *machine) wrote(s *subscription, n int32) {
	parts := s.closing && slices.Contains(m.parting, s)
	if m.muted || m.gone || m.session == nil || m.subs[s.key] != s && !parts {
		return
	}
	m.consumed(s, int(n))
	switch {
	case parts && s.unacked.len() == 0:
		m.parting = slices.DeleteFunc(m.parting, func(o *subscription) bool { return o == s })
		s.sub.Close(m.results, s.closer)
	case m.state == stateOpen && !parts:
		m.grant(s, n)
	}
}

// end lets the connection end behind what is in out.
func (m *machine) end() {
	m.stopDeliveries()
	m.state = stateClosing
	m.partSession()
}

// partSession closes the session, but for one that waits for the writer: only what it
// has written is consumed. Then the end of the connection closes it.
func (m *machine) partSession() {
	if m.unwritten() {
		m.claim.drop() // as closeSession does
		return
	}
	m.closeSession()
}

// unwritten reports whether messages of auto subscriptions are on their way to the
// writer, who may come to an end with them.
func (m *machine) unwritten() bool {
	if m.muted || m.gone || m.session == nil {
		return false
	}
	for _, s := range m.subs {
		if s.mode == ackAuto && s.unacked.len() > 0 {
			return true
		}
	}
	return len(m.parting) > 0
}

// part ends the subscriptions that wait for the writer, who writes no more.
func (m *machine) part() {
	for _, s := range m.parting {
		s.sub.Close(m.results, s.closer)
	}
	m.parting = nil
}

func (m *machine) closeSession() {
	if m.session != nil {
		m.session.Close()
		m.session = nil
	}
	m.claim.drop() // before the last frame: who has read it may come back
}

// progress ends a leaving connection when nothing is under way any more.
func (m *machine) progress() {
	if m.state != stateLeaving || m.outgoing != nil || (m.pending.len() > 0 && !m.failing) {
		return
	}
	if m.farewell == nil && m.unwritten() { // the RECEIPT of DISCONNECT comes when all is settled
		return
	}
	m.partSession() // had to wait for a COMMIT, or for the pieces of a large message
	if m.farewell != nil {
		m.bid(m.farewell)
	} else if m.goodbye != nil {
		m.appendReceipt(m.goodbye)
	}
	m.state = stateClosing
}

// mute says that the peer reads no more: deliveries stop, frames that were sent
// are still dealt with.
func (m *machine) mute() {
	m.breakOff()
	m.muted = true
	m.dropOut()
	m.giveBack(nil)
	if m.session == nil {
		return
	}
	m.part()
	for _, s := range m.subs {
		if s.mode != ackAuto {
			s.sub.Grant(-s.prefetch) // an ACK may still be on its way
			continue
		}
		s.closing = true
		s.sub.Close(nil, 0)
		m.drop(s)
	}
}

// rest gives back the memory that an idle connection does not need.
func (m *machine) rest() {
	m.pending.release()
	m.receipts.release()
	m.ids.release()
	m.backlog.release()
	for _, s := range m.subs {
		s.unacked.release()
	}
	m.headers, m.payload = nil, nil
}

// count adds what happened since the last call to the metrics.
func (m *machine) count() {
	if m.received > 0 {
		m.fe.metrics.received.Add(float64(m.received))
		m.received = 0
	}
	if m.delivered > 0 {
		m.fe.metrics.delivered.Add(float64(m.delivered))
		m.delivered = 0
	}
}

// stopping is what a client is told whose node stops.
func stopping(cause error) *farewell {
	return &farewell{
		w: &wireError{code: routing.CodeClosed, message: protocols.Stopping("node is shutting down", cause)}, cause: cause,
	}
}

// abandon waits no longer for what is under way: nobody knows what was done.
func (m *machine) abandon() {
	if m.farewell == nil {
		m.farewell = stopping(protocols.ErrDraining)
	}
	m.breakOff()
	m.pending.clear()
	m.progress()
}
