package stomp

import (
	"cmp"
	"strconv"

	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
	"github.com/selvedge-mq/selvedge/routing"
)

// refusedOnSubscribe are headers that would make a subscription get more, less
// or other messages, which this version does not do.
var refusedOnSubscribe = []string{
	"transaction", "activemq.retroactive", "activemq.maximumPendingMessageLimit", "activemq.clientId",
	"x-stream-offset", "x-stream-filter", "x-stream-match-unfiltered", "x-queue-name",
}

// subscribe starts a subscription. It gets credit behind its RECEIPT, so that
// the RECEIPT comes before the first MESSAGE. [STOMP 1.2 SUBSCRIBE]
func (m *machine) subscribe(f *frame.Frame) error {
	for _, key := range refusedOnSubscribe {
		if v, ok := f.Get(key); ok && string(v) != "false" {
			return notSupported("the header %s is not supported yet", key)
		}
	}
	o, d, err := m.subscribeOptions(f)
	if err != nil {
		return err
	}
	s := &subscription{name: d.name, browse: o.Browse, temporary: d.own}
	if s.key, err = m.subscriptionKey(f, d.name); err != nil {
		return err
	}
	if m.subs[s.key] != nil {
		return invalid("There already is a subscription for: %s. Use unique subscription IDs", s.key.name).titled(
			"Duplicated subscription identifier", "A subscription identified by '%s' already exists.", s.key.name)
	}
	if s.mode, err = m.ackMode(f); err != nil {
		return err
	}
	if s.prefetch, err = m.prefetch(f); err != nil {
		return err
	}
	if id, ok := f.Get("id"); ok {
		s.header = frame.AppendEcho(nil, m.version, "subscription", m.trim(id))
	}
	if s.browse {
		s.mode = ackAuto
	}
	if s.mode == ackAuto {
		m.lenient = true
	}
	s.kept = f.HeaderSize()
	if err := m.admitSubscription(s.kept); err != nil {
		return err
	}
	m.open(s, o, m.begin(f, pending{request: requestSubscribe, waits: 1, sub: s}))
	return nil
}

// admitSubscription reports whether there may be one more, which keeps so many
// octets of its frame.
func (m *machine) admitSubscription(size int) error {
	if len(m.subs) >= m.fe.own.Subscriptions {
		return full("a connection may have at most %d subscriptions", m.fe.own.Subscriptions)
	}
	return m.keep(size)
}

// keep counts octets that the connection keeps for as long as the client likes:
// names, selectors, receipts of open transactions.
func (m *machine) keep(size int) error {
	if m.kept+size > m.fe.limits.InFlightBytes {
		return full("the subscriptions and transactions of a connection may take at most %d octets", m.fe.limits.InFlightBytes)
	}
	m.kept += size
	return nil
}

// drop forgets a subscription.
func (m *machine) drop(s *subscription) {
	if m.subs[s.key] != s {
		return
	}
	delete(m.subs, s.key)
	m.kept -= s.kept
	m.credit -= s.prefetch
}

// open asks the broker for a subscription. What a topic gives to an auto
// subscription nobody else would get: it is settled when it is handed over.
func (m *machine) open(s *subscription, o routing.SubscribeOptions, token uint64) {
	if s.mode == ackAuto && !s.browse {
		o.Settled = o.Durable == "" && (o.Address.Kind == routing.KindTopic || o.Address.Kind == routing.KindTempTopic)
		s.settles = !o.Settled
	}
	s.alone = o.Durable != "" || o.Exclusive
	topic := o.Address.Kind == routing.KindTopic || o.Address.Kind == routing.KindTempTopic
	s.returns = !topic || o.Durable != ""
	m.subCount++
	s.prefetch = max(1, min(s.prefetch, mostCredit-m.credit))
	m.credit += s.prefetch
	s.number, s.deliveries, s.events = m.subCount, m.deliveries, m.events
	m.subs[s.key] = s
	s.sub = m.session.Subscribe(o, s, m.results, token)
}

// get returns a header's value as text, without the padding of 1.0.
func (m *machine) get(f *frame.Frame, keys ...string) (string, bool) {
	for _, key := range keys {
		if v, ok := f.Get(key); ok {
			return string(m.trim(v)), true
		}
	}
	return "", false
}

func (m *machine) is(f *frame.Frame, keys ...string) bool {
	v, _ := m.get(f, keys...)
	return v == "true" || v == "True"
}

func (m *machine) subscribeOptions(f *frame.Frame) (routing.SubscribeOptions, destination, error) {
	var o routing.SubscribeOptions
	name, _ := m.get(f, "destination")
	if name == "" {
		return o, destination{}, invalid("Invalid empty or 'null' Destination header").titled(
			titleNowhere, "\"SUBSCRIBE\" must include a 'destination' header\n")
	}
	d, err := m.resolve([]byte(name))
	switch {
	case err != nil:
	case d.parts != nil:
		err = notSupported("a subscription to a composite destination is not supported yet: %s", name)
	default:
		err = m.onlyReplyTo(d, frame.Subscribe)
	}
	if err != nil {
		return o, d, err
	}
	if t, ok := m.get(f, "subscription-type"); ok {
		if d, err = d.withType(t); err != nil {
			return o, d, err
		}
	}
	o.Address = d.address
	o.Selector, _ = m.get(f, "selector", "activemq.selector")
	o.Browse = m.is(f, "browser", "activemq.browser")
	if m.fe.dialect.arguments {
		if err := refuseArguments(f, d.address.Kind); err != nil {
			return o, d, err
		}
	} else {
		o.Exclusive = m.is(f, "activemq.exclusive", "exclusive")
	}
	o.NoLocal = m.is(f, "no-local", "activemq.noLocal")
	if p, ok := m.get(f, "activemq.priority", "x-priority"); ok {
		if o.Priority, err = strconv.Atoi(p); err != nil {
			return o, d, invalid("the priority of a subscription is a number")
		}
	}
	return o, d, m.durable(f, &o, d.qualifier)
}

// durableNames are the headers with the name of a durable subscription.
var durableNames = []string{
	"durable-subscription-name", "durable-subscriber-name", "activemq.subscriptionName", "activemq.subcriptionName",
}

// durable reads the spellings of a durable subscription: a name and the client-id
// of CONNECT, RabbitMQ's id with durable or persistent, Artemis's address::queue.
func (m *machine) durable(f *frame.Frame, o *routing.SubscribeOptions, qualifier string) error {
	name, named := m.get(f, durableNames...)
	switch {
	case qualifier != "":
		o.Durable, o.Shared = qualifier, true
	case named && o.Address.Kind != routing.KindTopic:
		return invalid("Invalid Subscription: cannot durably subscribe to a Queue destination!")
	case named && m.clientID == "":
		return invalid("a durable subscription needs a client-id in CONNECT")
	case named:
		o.Durable = name
	case o.Address.Kind == routing.KindTopic && m.is(f, "durable", "persistent"):
		if o.Durable, _ = m.get(f, "id"); o.Durable == "" {
			return invalid("Header 'id' is required for durable subscriptions").titled("Missing Header", "")
		}
		o.Shared = true
	}
	return nil
}

// subscriptionKey returns the key of the subscription that a frame names. The
// id may be missing in 1.0 only, but where the dialect's broker needs none.
func (m *machine) subscriptionKey(f *frame.Frame, destination string) (subKey, error) {
	if id, ok := m.get(f, "id"); ok {
		return subKey{name: id}, nil
	}
	if m.version != frame.V10 && !m.fe.dialect.idOptional {
		return subKey{}, invalid("%s received without a subscription id!", f.Command)
	}
	return subKey{byDestination: true, name: destination}, nil
}

func (m *machine) ackMode(f *frame.Frame) (ackMode, error) {
	v, ok := m.get(f, "ack")
	switch {
	case !ok || v == "auto":
		return ackAuto, nil
	case v == "client":
		return ackClient, nil
	case v == "client-individual":
		return ackIndividual, nil
	}
	return 0, invalid("the ack mode is auto, client or client-individual, not %s", v).titled(titleProcessing, "")
}

// mostPrefetch is the credit of a subscription that asks for no bound, mostCredit
// that of all subscriptions of a connection; beyond it each has one message.
const (
	mostPrefetch = 1 << 16
	mostCredit   = 1 << 20
)

func (m *machine) defaultPrefetch() int32 {
	return int32(min(m.fe.limits.Prefetch, mostPrefetch)) //nolint:gosec // bounded
}

// prefetch returns the credit: a number of messages, or a window in octets
// counted as a message per KiB. 0 is one message at a time, but for RabbitMQ's
// prefetch-count, where it is no bound.
func (m *machine) prefetch(f *frame.Frame) (int32, error) {
	for _, h := range []struct {
		key   string
		size  int64
		least int64
	}{
		{"activemq.prefetchSize", m.fe.dialect.prefetchUnit(), 0},
		{"prefetch-count", 1, 1},
		{"consumer-window-size", 1 << 10, 0},
	} {
		v, ok := m.get(f, h.key)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(v, 10, 32)
		switch {
		case err != nil:
			return 0, invalid("the prefetch is not a number: %s", v)
		case n < 0 && h.size == 1:
			return m.defaultPrefetch(), nil
		case n < h.least:
			return mostPrefetch, nil
		}
		return int32(min(max(1, n/h.size), mostPrefetch)), nil
	}
	return m.defaultPrefetch(), nil
}

// prefetchUnit is what one credit counts in activemq.prefetchSize: a message, or
// for Artemis a KiB.
func (b *behavior) prefetchUnit() int64 {
	if b.windowBytes {
		return 1 << 10
	}
	return 1
}

// start gives a subscription its first credit.
func (m *machine) start(s *subscription) {
	if s == nil || s.closing || m.state != stateOpen {
		return
	}
	m.grant(s, s.prefetch)
	if s.browse {
		s.sub.Drain()
	}
}

// unsubscribe ends a subscription. Its RECEIPT comes behind its last MESSAGE.
// [STOMP 1.2 UNSUBSCRIBE]
func (m *machine) unsubscribe(f *frame.Frame) error {
	if _, ok := m.get(f, durableNames...); ok || m.is(f, "durable", "persistent") {
		return notSupported("deleting a durable subscription is not supported yet")
	}
	name, _ := m.get(f, "destination")
	key, err := m.subscriptionKey(f, name)
	if err != nil {
		return err
	}
	s := m.subs[key]
	if s == nil && key.byDestination && m.fe.dialect.legacy {
		s = m.oldest(key.name)
	}
	switch {
	case key.name == "":
		return invalid("No subscription matched.").titled("Missing destination or id", "UNSUBSCRIBE must include a 'destination' or 'id' header")
	case s == nil:
		return invalid("No subscription matched.").titled(
			"No subscription found", "UNSUBSCRIBE must refer to an existing subscription.\nSubscription to %s not found.\n", key.name)
	case s.implicit:
		return invalid("a reply queue has a subscription as long as its connection lasts").titled(
			"Invalid id", "UNSUBSCRIBE 'id' may not start with %s\n", tempQueue)
	}
	m.drop(s)
	m.lenient = true
	m.giveBack(s)
	m.dismiss(s, m.begin(f, pending{request: requestUnsubscribe, waits: 1, sub: s}))
	return nil
}

// oldest returns the first subscription to a destination, nil if there is none. In
// 1.0 ActiveMQ finds it by the destination though it has an id.
func (m *machine) oldest(destination string) *subscription {
	var first *subscription
	for _, s := range m.subs {
		if s.name == destination && (first == nil || s.number < first.number) {
			first = s
		}
	}
	return first
}

// dismiss ends a subscription as far as the client goes. What an auto subscription has in
// out is on its way, and consumed when it is written: the broker ends it behind that.
func (m *machine) dismiss(s *subscription, token uint64) {
	s.closing, s.closer = true, token
	switch {
	case s.mode != ackAuto:
		m.forget(s)
	case s.unacked.len() > 0:
		m.parting = append(m.parting, s)
		return
	}
	s.sub.Close(m.results, token)
}

// handAll encodes what the backlog holds of a subscription.
func (m *machine) handAll(s *subscription) {
	for range m.backlog.len() { // once round, so that the order of the others stays
		d := m.backlog.pop()
		if d.sub == s {
			m.held -= d.size
			m.hand(&d)
			continue
		}
		m.backlog.push(d)
	}
}

// consumed settles the first n deliveries of an auto subscription.
func (m *machine) consumed(s *subscription, n int) {
	for ; n > 0 && s.unacked.len() > 0; n-- {
		s.sub.Settle(s.unacked.pop().tag, routing.Outcome{Kind: routing.Accepted}, nil, 0)
	}
}

// giveBack releases what is in the backlog, as if it had not been handed out: of
// one subscription, or of all when s is nil.
func (m *machine) giveBack(s *subscription) {
	for range m.backlog.len() { // once round, so that the order of the others stays
		d := m.backlog.pop()
		if s != nil && d.sub != s {
			m.backlog.push(d)
			continue
		}
		m.held -= d.size
		if (d.sub.mode != ackAuto || d.sub.settles) && m.session != nil && !d.sub.closing {
			d.sub.sub.Settle(d.d.Tag, routing.Outcome{Kind: routing.Released}, nil, 0)
		}
	}
}

// cancelled tells the client that the broker ended a subscription.
func (m *machine) cancelled(s *subscription, err error) {
	if s.closing || m.state != stateOpen {
		m.drop(s) // what is written of it is not settled any more
		return
	}
	s.closing = true
	m.drop(s)
	w := *m.wire(err)
	w.title = titleCancelled
	w.body = "The server has canceled a subscription.\nNo more messages will be delivered for " + s.name + ".\n" + cmp.Or(w.detail, w.message)
	w.message = titleCancelled + ": " + w.message
	w.header, w.value = "subscription", s.key.name
	if m.keepsOpen() {
		m.giveBack(s)
		if s.mode != ackAuto {
			m.forget(s)
		}
		m.tell(&w, "", false)
		return
	}
	m.fail(&w, "", false)
}

// browsed ends a browser that has seen everything, or lets it go on.
func (m *machine) browsed(s *subscription, left uint32) {
	if !s.browse || s.closing || m.state != stateOpen {
		return
	}
	if left == 0 {
		m.start(s)
		return
	}
	m.handAll(s)
	dst := frame.AppendCommand(m.out, frame.Message)
	dst = append(dst, "message-id:0\n"...)
	dst = append(dst, s.header...)
	dst = frame.AppendHeader(dst, m.version, "destination", s.name)
	dst = append(dst, "browser:end\n"...)
	m.out = frame.AppendBody(dst, "")
}
