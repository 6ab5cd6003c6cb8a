package stomp

import (
	"bytes"

	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
	"github.com/selvedge-mq/selvedge/routing"
)

// ownTemporary finds a temporary destination by its short name.
type ownTemporary struct {
	kind routing.Kind
	name string
}

// temporary returns the address behind a short name of this connection; the
// first use makes it. The broker deletes it with the session.
func (m *machine) temporary(d destination) (routing.Address, error) {
	key := ownTemporary{d.address.Kind, d.address.Name}
	if a, ok := m.temporaries[key]; ok {
		return a, nil
	}
	if len(m.temporaries) >= m.fe.own.Temporary {
		return routing.Address{}, full("a connection may have at most %d temporary destinations", m.fe.own.Temporary)
	}
	a := m.session.CreateTemporary(key.kind, m.results, m.pending.push(pending{request: requestCreate, waits: 1, helps: true}))
	if m.temporaries == nil {
		m.temporaries = make(map[ownTemporary]routing.Address)
	}
	m.temporaries[key] = a
	return a, nil
}

// replyTo returns what consumers see as reply-to: a temporary destination of this
// connection by its name in the cluster, anything else as it is.
func (m *machine) replyTo(value []byte) ([]byte, error) {
	if !bytes.HasPrefix(value, []byte(tempQueue)) && !bytes.HasPrefix(value, []byte(tempTopic)) {
		return value, nil
	}
	d, err := m.resolve(value)
	if err != nil {
		return nil, err
	}
	if m.fe.dialect.implicitReply && d.address.Kind == routing.KindTempQueue {
		if err := m.awaitReplies(d); err != nil {
			return nil, err
		}
	}
	return d.canonical, nil
}

// awaitReplies subscribes to a temporary queue as RabbitMQ does at its first use
// as reply-to: the queue's short name is the id of the subscription.
func (m *machine) awaitReplies(d destination) error {
	key := subKey{name: d.name}
	if m.subs[key] != nil {
		return nil
	}
	s := &subscription{
		key: key, name: d.name, temporary: true, implicit: true, mode: ackAuto,
		prefetch: m.defaultPrefetch(),
		header:   frame.AppendHeader(nil, m.version, "subscription", d.name),
	}
	s.kept = len(d.name)
	if err := m.admitSubscription(s.kept); err != nil {
		return err
	}
	token := m.pending.push(pending{request: requestSubscribe, waits: 1, sub: s, helps: true})
	m.open(s, routing.SubscribeOptions{Address: d.address}, token)
	return nil
}

// onlyReplyTo refuses a temporary queue where RabbitMQ has none.
func (m *machine) onlyReplyTo(d destination, command frame.Command) error {
	if !d.own || !m.fe.dialect.implicitReply || d.address.Kind != routing.KindTempQueue {
		return nil
	}
	return invalid("Illegal destination name: [%s] for %s", d.name, command).titled(
		titleDestination, "'%s' is not a valid destination for '%s'\n", d.name, command)
}
