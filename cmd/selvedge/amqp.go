package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/Azure/go-amqp"
)

// dialAMQP connects, logs in and begins a session.
func dialAMQP(ctx context.Context, at *server) (*amqp.Conn, *amqp.Session, error) {
	opts := &amqp.ConnOptions{HostName: at.Host(), SASLType: amqp.SASLTypeAnonymous()}
	if at.User != "" {
		opts.SASLType = amqp.SASLTypePlain(at.User, at.Password)
	}
	nc, err := at.dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	conn, err := amqp.NewConn(ctx, nc, opts)
	if err != nil {
		_ = nc.Close()
		return nil, nil, err
	}
	session, err := conn.NewSession(ctx, nil)
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	return conn, session, nil
}

// amqpSender sends unsettled and waits for the outcome accepted.
type amqpSender struct {
	conn *amqp.Conn
	link *amqp.Sender
}

func openAMQPSender(ctx context.Context, at *server, d destination) (sender, error) {
	conn, session, err := dialAMQP(ctx, at)
	if err != nil {
		return nil, err
	}
	mode := amqp.SenderSettleModeUnsettled
	link, err := session.NewSender(ctx, d.String(), &amqp.SenderOptions{
		SettlementMode:     &mode,
		TargetCapabilities: []string{d.capability()},
	})
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("attach to %s: %w", d, err)
	}
	return &amqpSender{conn: conn, link: link}, nil
}

func (s *amqpSender) send(ctx context.Context, m outgoing) error {
	receipt, err := s.link.SendWithReceipt(ctx, amqpMessage(m), nil)
	if err != nil {
		return err
	}
	state, err := receipt.Wait(ctx)
	if err != nil {
		return err
	}
	switch o := state.(type) {
	case *amqp.StateAccepted:
		return nil
	case *amqp.StateRejected:
		if o.Error != nil {
			return fmt.Errorf("rejected: %w", amqpReason(o.Error))
		}
		return errors.New("rejected without a reason")
	default:
		return fmt.Errorf("the outcome is %T, want accepted", state)
	}
}

func (s *amqpSender) close() error { return s.conn.Close() }
func (s *amqpSender) abort()       { _ = s.conn.Close() }

// amqpMessage puts the headers that AMQP has a property for there, and the
// others into the application properties.
func amqpMessage(o outgoing) *amqp.Message {
	m := amqp.NewMessage(o.body)
	m.Header = &amqp.MessageHeader{Durable: o.persistent, Priority: 4}
	m.Properties = &amqp.MessageProperties{}
	for _, h := range o.headers {
		p := m.Properties
		switch h.name {
		case "content-type":
			p.ContentType = &h.value
		case "content-encoding":
			p.ContentEncoding = &h.value
		case "correlation-id":
			p.CorrelationID = h.value
		case "message-id":
			p.MessageID = h.value
		case "reply-to":
			p.ReplyTo = &h.value
		case "subject":
			p.Subject = &h.value
		case "group-id":
			p.GroupID = &h.value
		case "user-id":
			p.UserID = []byte(h.value)
		default:
			if m.ApplicationProperties == nil {
				m.ApplicationProperties = make(map[string]any)
			}
			m.ApplicationProperties[h.name] = h.value
		}
	}
	return m
}

// amqpSource receives and accepts each message.
type amqpSource struct {
	conn   *amqp.Conn
	link   *amqp.Receiver
	left   int // messages that will still be asked for; below 0: no bound
	credit int // given and not used
}

// openAMQPSource attaches with credit by hand, so that not a message more than
// asked for leaves the queue.
func openAMQPSource(ctx context.Context, at *server, d destination, most int, attach time.Duration) (source, error) {
	conn, session, err := dialAMQP(ctx, at)
	if err != nil {
		return nil, err
	}
	attaching := ctx
	if attach > 0 {
		var cancel context.CancelFunc
		attach = max(attach, emptyTimeout)
		attaching, cancel = context.WithTimeout(ctx, attach)
		defer cancel()
	}
	link, err := session.NewReceiver(attaching, d.String(), &amqp.ReceiverOptions{
		Credit:             -1,
		SourceCapabilities: []string{d.capability()},
	})
	if err != nil {
		_ = conn.Close()
		if attaching.Err() != nil && ctx.Err() == nil {
			err = silentFor(attach)
		}
		return nil, fmt.Errorf("attach to %s: %w", d, err)
	}
	if most == 0 {
		most = -1
	}
	return &amqpSource{conn: conn, link: link, left: most}, nil
}

func (s *amqpSource) receive(ctx context.Context) (incoming, error) {
	if s.credit == 0 {
		s.credit = maxCredit
		if s.left >= 0 {
			s.credit = min(maxCredit, s.left)
		}
		if err := s.link.IssueCredit(uint32(s.credit)); err != nil {
			return incoming{}, err
		}
	}
	m, err := s.link.Receive(ctx, nil)
	if err != nil {
		return incoming{}, err
	}
	s.credit--
	s.left--
	return incoming{
		body:    amqpBody(m),
		headers: amqpHeaders(m),
		settle:  func(ctx context.Context) error { return s.link.AcceptMessage(ctx, m) },
	}, nil
}

func (s *amqpSource) close(wait time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	return errors.Join(s.link.Close(ctx), s.conn.Close())
}

// amqpBody is the body as bytes: data sections as they are, a value as text.
func amqpBody(m *amqp.Message) []byte {
	switch v := m.Value.(type) {
	case nil:
	case string:
		return []byte(v)
	case []byte:
		return v
	default:
		return fmt.Append(nil, v)
	}
	if len(m.Sequence) > 0 {
		return fmt.Append(nil, m.Sequence)
	}
	return bytes.Join(m.Data, nil)
}

// amqpHeaders lists header, properties, annotations and application properties
// in one spelling.
func amqpHeaders(m *amqp.Message) []header {
	var list []header
	add := func(name string, value any) {
		list = append(list, header{name: name, value: amqpText(value)})
	}
	if h := m.Header; h != nil {
		add("durable", strconv.FormatBool(h.Durable))
		add("priority", h.Priority)
		if h.TTL > 0 {
			add("ttl", h.TTL)
		}
		if h.DeliveryCount > 0 {
			add("delivery-count", h.DeliveryCount)
		}
	}
	if p := m.Properties; p != nil {
		addProperties(add, p)
	}
	for _, name := range slices.Sorted(maps.Keys(m.ApplicationProperties)) {
		add(name, m.ApplicationProperties[name])
	}
	annotations := make(map[string]any, len(m.Annotations))
	for name, value := range m.Annotations {
		annotations[amqpText(name)] = value
	}
	for _, name := range slices.Sorted(maps.Keys(annotations)) {
		add("annotation "+name, annotations[name])
	}
	return list
}

func addProperties(add func(string, any), p *amqp.MessageProperties) {
	if p.MessageID != nil {
		add("message-id", p.MessageID)
	}
	if p.CorrelationID != nil {
		add("correlation-id", p.CorrelationID)
	}
	if p.UserID != nil {
		add("user-id", p.UserID)
	}
	for _, f := range []struct {
		name  string
		value *string
	}{
		{"to", p.To},
		{"subject", p.Subject},
		{"reply-to", p.ReplyTo},
		{"content-type", p.ContentType},
		{"content-encoding", p.ContentEncoding},
		{"group-id", p.GroupID},
	} {
		if f.value != nil {
			add(f.name, *f.value)
		}
	}
	if p.CreationTime != nil {
		add("creation-time", p.CreationTime.UTC().Format("2006-01-02T15:04:05.000Z"))
	}
}

// amqpText shows bytes as text where they are some.
func amqpText(value any) string {
	if b, ok := value.([]byte); ok && utf8.Valid(b) {
		return string(b)
	}
	return fmt.Sprint(value)
}
