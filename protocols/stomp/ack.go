package stomp

import (
	"bytes"
	"strconv"

	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
	"github.com/selvedge-mq/selvedge/routing"
)

// ackKey is an acknowledgment's id, understood: the message, and the number of
// the subscription when the connection holds the message more than once.
type ackKey struct {
	key   uint64
	shard uint16
	sub   uint32
}

// ackPlace is where an unacknowledged delivery is.
type ackPlace struct {
	sub *subscription
	n   uint64 // in sub.unacked
}

// unacked is a delivery that waits for ACK or NACK.
type unacked struct {
	tag  routing.Tag
	key  ackKey
	done bool
	held bool // a transaction has acknowledged it
}

// unacked returns the delivery, nil if it is settled.
func (p ackPlace) unacked() *unacked {
	if !p.sub.unacked.has(p.n) {
		return nil
	}
	if u := p.sub.unacked.at(p.n); !u.done {
		return u
	}
	return nil
}

// await notes a delivery of a client mode and returns its key.
func (m *machine) await(s *subscription, tag routing.Tag) ackKey {
	key := ackKey{key: tag.Key, shard: tag.Shard}
	if place, taken := m.acks[key]; taken && place.sub != s {
		key.sub = s.number
	}
	if place, again := m.acks[key]; again { // the same message again: the newer delivery counts
		old := place.unacked()
		if old != nil && !old.held {
			m.regrant(s, 1) // the older one used credit that no ACK gives back
		}
		if old != nil {
			old.done = true
		}
		m.trimUnacked(s)
	}
	m.acks[key] = ackPlace{s, s.unacked.push(unacked{tag: tag, key: key})}
	return key
}

// appendAckID appends the ack id: the message-id, and a suffix if there is
// another delivery of the message under way.
func (k ackKey) appendAckID(dst []byte) []byte {
	dst = routing.Tag{Shard: k.shard, Key: k.key}.AppendMessageID(dst)
	if k.sub != 0 {
		dst = append(dst, ',')
		dst = strconv.AppendUint(dst, uint64(k.sub), 10)
	}
	return dst
}

// parseAckID reads an ack id or a message-id.
func parseAckID(id []byte) (ackKey, bool) {
	rest, ok := bytes.CutPrefix(id, []byte("ID-"))
	shardText, rest, cut := bytes.Cut(rest, []byte{'-'})
	keyText, subText, suffixed := bytes.Cut(rest, []byte{','})
	shard, err1 := strconv.ParseUint(string(shardText), 16, 16)
	key, err2 := strconv.ParseUint(string(keyText), 16, 64)
	k := ackKey{key: key, shard: uint16(shard)}
	if suffixed {
		sub, err := strconv.ParseUint(string(subText), 10, 32)
		if err != nil {
			return k, false
		}
		k.sub = uint32(sub)
	}
	return k, ok && cut && err1 == nil && err2 == nil
}

// ack accepts a message, in client mode also all before it in the subscription.
// [STOMP 1.2 ACK]
func (m *machine) ack(f *frame.Frame) error {
	return m.acknowledge(f, routing.Outcome{Kind: routing.Accepted}, true)
}

// nack ends the delivery of a message that was not consumed: what becomes of it,
// and whether it takes those before it along, is the dialect's. RabbitMQ's header
// requeue asks for the one or the other. [STOMP 1.2 NACK]
func (m *machine) nack(f *frame.Frame) error {
	b := m.fe.dialect
	if b.strict && m.version == frame.V10 {
		return invalid("NACK received but connection is in v1.0 mode.")
	}
	kind := b.nack
	if v, ok := m.get(f, "requeue"); ok {
		if kind = NackDeadLetter; v == "true" || v == "True" {
			kind = NackRequeue
		}
	}
	o := routing.Outcome{Kind: routing.Rejected}
	switch kind {
	case NackRequeue:
		o = routing.Outcome{Kind: routing.Modified, DeliveryFailed: true}
	case NackAccept:
		o = routing.Outcome{Kind: routing.Accepted}
	case NackDeadLetter:
	}
	return m.acknowledge(f, o, b.nackCumulative)
}

func (m *machine) acknowledge(f *frame.Frame, o routing.Outcome, cumulative bool) error {
	id, err := m.ackID(f)
	if err != nil {
		return err
	}
	name, _ := f.Get("transaction")
	t, err := m.within(m.trim(name))
	if err != nil {
		return err
	}
	place, err := m.place(f, id)
	if err != nil {
		return err
	}
	from := place.n
	if s := place.sub; cumulative && s != nil && s.mode == ackClient {
		from = s.unacked.head
	}
	if t != nil {
		return m.settleWithin(t, f, place, from, o)
	}
	m.settle(f, place, from, o)
	return nil
}

// ackHeaders returns the header that names the delivery in the connection's version,
// and the other one.
func (m *machine) ackHeaders() (first, second string) {
	if m.version == frame.V12 {
		return "id", "message-id"
	}
	return "message-id", "id"
}

// ackID returns the id of the delivery that a frame is about. Clients name it in
// the header of another version too.
func (m *machine) ackID(f *frame.Frame) ([]byte, error) {
	first, second := m.ackHeaders()
	strict := m.fe.dialect.strict
	if _, ok := f.Get("subscription"); strict && !ok && m.version == frame.V11 {
		return nil, invalid("%s received without a subscription id for acknowledge!", f.Command)
	}
	id, ok := f.Get(first)
	if !ok && !strict {
		id, ok = f.Get(second)
	}
	if !ok {
		return nil, invalid("%s received without the header %s", f.Command, first).titled(
			titleNoHeader, "\"%s\" must include the \"%s\" header\n", f.Command, first)
	}
	return m.trim(id), nil
}

// place finds the delivery that an acknowledgment names. One without a
// subscription means that the frame has nothing to do: a late or needless
// acknowledgment, which many clients send.
func (m *machine) place(f *frame.Frame, id []byte) (ackPlace, error) {
	key, ok := parseAckID(id)
	place, found := m.acks[key]
	var named *subscription
	if name, has := m.get(f, "subscription"); has {
		named = m.subs[subKey{name: name}]
	}
	if named != nil && found && place.sub != named {
		key.sub = named.number
		place, found = m.acks[key]
		found = found && place.sub == named
	}
	if ok && found && !place.sub.unacked.at(place.n).held {
		return place, nil
	}
	if !m.fe.dialect.lateAckError && (m.lenient || (named != nil && named.mode == ackAuto)) {
		return ackPlace{}, nil
	}
	w := invalid("Unexpected %s received for message-id [%s]", f.Command, id)
	if !ok {
		first, _ := m.ackHeaders()
		return ackPlace{}, w.titled(titleHeader, "\"%s\" must include a valid \"%s\" header\n", f.Command, first)
	}
	return ackPlace{}, w.titled("Message not found", "")
}

// settle ends the deliveries from a number to that of the place and grants the
// credit again.
func (m *machine) settle(f *frame.Frame, place ackPlace, from uint64, o routing.Outcome) {
	s := place.sub
	var completer routing.Completer
	token := uint64(0)
	if _, ok := f.Get("receipt"); ok {
		token = m.begin(f, pending{request: requestSettle})
		completer = m.results
	}
	n := int32(0)
	for i := from; s != nil && i <= place.n; i++ {
		u := s.unacked.at(i)
		if u.done || u.held {
			continue
		}
		u.done = true
		delete(m.acks, u.key)
		s.sub.Settle(u.tag, o, completer, token)
		n++
	}
	if s != nil {
		m.trimUnacked(s)
	}
	if completer != nil {
		p := m.pending.at(token)
		if p.waits = int(n); n == 0 {
			m.finish(p)
			m.popPending()
		}
	}
	m.regrant(s, n)
}

// regrant gives the credit of settled deliveries again, but for what an aborted
// transaction had given already.
func (m *machine) regrant(s *subscription, n int32) {
	if n == 0 || m.muted {
		return
	}
	paid := min(n, s.owed)
	s.owed -= paid
	if n == paid {
		return
	}
	if s.regranted == 0 {
		m.regranted = append(m.regranted, s)
	}
	s.regranted += n - paid
}

// grantAgain tells the broker of the credit that has come together.
func (m *machine) grantAgain() {
	for _, s := range m.regranted {
		if !s.closing && m.session != nil {
			m.grant(s, s.regranted)
		}
		s.regranted = 0
	}
	clear(m.regranted)
	m.regranted = m.regranted[:0]
}

func (m *machine) trimUnacked(s *subscription) {
	for s.unacked.len() > 0 && s.unacked.front().done {
		s.unacked.pop()
	}
}

// forget drops the deliveries of a subscription that wait for ACK.
func (m *machine) forget(s *subscription) {
	for s.unacked.len() > 0 {
		if u := s.unacked.pop(); !u.done {
			delete(m.acks, u.key)
		}
	}
}
