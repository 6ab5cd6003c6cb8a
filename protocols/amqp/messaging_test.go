package amqp

import (
	"bytes"
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"pgregory.net/rapid"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/message"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
	"github.com/selvedge-mq/selvedge/routing"
)

// pair is a client that sends to a queue on channel 0 and receives from it on
// channel 1.
type pair struct {
	*client
	broker *prototest.Broker
	id     uint32
}

func newPair(t *testing.T, source *frames.Source) *pair {
	t.Helper()
	broker := memory(t)
	c := connect(t, Options{Env: protocols.Env{
		Broker: broker, Auth: prototest.Users(nil), Log: zerolog.Nop(), Node: "n1",
	}}, &frames.Attach{Name: "s", Source: &frames.Source{}, Target: &frames.Target{Address: wire.Some("q")}})
	b := frames.AppendFrame(nil, 1, &frames.Begin{IncomingWindow: 1 << 20, OutgoingWindow: 1 << 20, HandleMax: 10})
	b = frames.AppendFrame(b, 1, &frames.Attach{
		Name: "r", Role: frames.RoleReceiver, Source: source, Target: &frames.Target{},
	})
	b = frames.AppendFrame(b, 1, &frames.Flow{
		IncomingWindow: 1 << 20, OutgoingWindow: 9, Handle: wire.Some(uint32(0)), LinkCredit: wire.Some(uint32(1 << 20)),
	})
	c.write(b)
	return &pair{client: c, broker: broker}
}

// send sends a message in its encoding, cut into two frames.
func (p *pair) send(payload []byte) {
	tr := frames.Transfer{
		DeliveryID: wire.Some(p.id), DeliveryTag: []byte{byte(p.id)}, MessageFormat: wire.Some(uint32(0)), More: true,
	}
	half := len(payload) / 2
	b := append(frames.AppendTransfer(nil, 0, &tr, half), payload[:half]...)
	last := frames.Transfer{}
	b = append(frames.AppendTransfer(b, 0, &last, len(payload)-half), payload[half:]...)
	p.id++
	p.write(b)
}

// receive returns the payload of the next delivery.
func (p *pair) receive() []byte {
	var all []byte
	for {
		f, payload := p.read()
		t, ok := f.(*frames.Transfer)
		if !ok {
			continue
		}
		all = append(all, payload...)
		if !t.More {
			return all
		}
	}
}

// genValue draws a value of any type, nested.
func genValue(depth int) *rapid.Generator[any] {
	plain := []*rapid.Generator[any]{
		rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.Uint8().AsAny(), rapid.Uint16().AsAny(), rapid.Uint32().AsAny(),
		rapid.Uint64().AsAny(), rapid.Int8().AsAny(), rapid.Int16().AsAny(), rapid.Int32().AsAny(), rapid.Int64().AsAny(),
		rapid.Float32().AsAny(), rapid.Float64().AsAny(), rapid.String().AsAny(),
		rapid.SliceOfN(rapid.Byte(), 0, 300).AsAny(),
		rapid.Map(rapid.Int64(), func(n int64) any { return wire.Timestamp(n) }),
		rapid.Map(rapid.StringMatching(`[a-z:-]{1,20}`), func(s string) any { return wire.Symbol(s) }),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 16, 16), func(b []byte) any { return wire.UUID(b) }),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 16, 16), func(b []byte) any { return wire.Decimal128(b) }),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 8, 8), func(b []byte) any { return wire.Decimal64(b) }),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 4, 4), func(b []byte) any { return wire.Decimal32(b) }),
	}
	if depth == 0 {
		return rapid.OneOf(plain...)
	}
	inner := genValue(depth - 1)
	return rapid.OneOf(append(plain,
		rapid.Map(rapid.SliceOfN(inner, 0, 3), func(l []any) any { return wire.List(l) }),
		rapid.Custom(func(t *rapid.T) any {
			var m wire.Map
			for range rapid.IntRange(0, 3).Draw(t, "entries") {
				m = append(m, wire.Entry{Key: inner.Draw(t, "key"), Value: inner.Draw(t, "value")})
			}
			return m
		}),
		rapid.Map(inner, func(v any) any { return wire.Described{Descriptor: uint64(0x123456), Value: v} }),
	)...)
}

// section appends a section, its descriptor in any of its forms.
func section(t *rapid.T, dst []byte, code byte, symbol string, value []byte) []byte {
	switch rapid.IntRange(0, 2).Draw(t, "descriptor") {
	case 0:
		dst = append(dst, 0x00, 0x53, code)
	case 1:
		dst = append(dst, 0x00, 0x80, 0, 0, 0, 0, 0, 0, 0, code)
	default:
		dst = append(append(dst, 0x00, 0xa3, byte(len(symbol))), symbol...)
	}
	return append(dst, value...)
}

// genBare draws a bare message and its footer, in odd encodings.
func genBare(t *rapid.T) []byte {
	var b []byte
	if rapid.Bool().Draw(t, "properties") {
		id := wire.AppendValue(nil, rapid.SampledFrom([]any{nil, "id", uint64(7), wire.UUID{1}, []byte{0, 255}}).Draw(t, "id"))
		list := append([]byte{0xd0, 0, 0, 0, byte(4 + len(id)), 0, 0, 0, 1}, id...) // a list that could be shorter
		b = section(t, b, 0x73, "amqp:properties:list", list)
	}
	if rapid.Bool().Draw(t, "application") {
		m := wire.Map{{Key: "k", Value: genValue(0).Draw(t, "property")}, {Key: "a", Value: int32(1)}}
		b = section(t, b, 0x74, "amqp:application-properties:map", wire.AppendValue(nil, m))
	}
	switch rapid.IntRange(0, 3).Draw(t, "body") {
	case 0:
		b = section(t, b, 0x77, "amqp:amqp-value:*", wire.AppendValue(nil, genValue(2).Draw(t, "value")))
	case 1:
		for range rapid.IntRange(1, 3).Draw(t, "sections") {
			b = section(t, b, 0x75, "amqp:data:binary", []byte{0xb0, 0, 0, 0, 2, 'x', 'y'}) // a binary that could be shorter
		}
	case 2:
		for range rapid.IntRange(1, 3).Draw(t, "sections") {
			b = section(t, b, 0x76, "amqp:amqp-sequence:list", wire.AppendValue(nil, wire.List{genValue(1).Draw(t, "element")}))
		}
	default: // none
	}
	if rapid.Bool().Draw(t, "footer") {
		b = section(t, b, 0x78, "amqp:footer:map", wire.AppendValue(nil, wire.Map{{Key: wire.Symbol("x-sum"), Value: uint32(1)}}))
	}
	return b
}

// [170] [177] [180] [181] [187] [188] [189] [190] [191] Whatever a bare message holds, and however
// that is encoded, it arrives bit for bit, and so do the message annotations.
func TestMessaging_3_2_BareMessagesAreNeverChanged(t *testing.T) {
	p := newPair(t, &frames.Source{Address: wire.Some("q")})
	rapid.Check(t, func(t *rapid.T) {
		bare := genBare(t)
		head := rapid.SampledFrom([][]byte{nil, {0x00, 0x53, 0x70, 0x45}, {0x00, 0x53, 0x70, 0xc0, 0x02, 0x01, 0x41}}).Draw(t, "header")
		var notes []byte
		if rapid.Bool().Draw(t, "annotations") {
			notes = section(t, nil, 0x72, "amqp:message-annotations:map",
				wire.AppendValue(nil, wire.Map{{Key: wire.Symbol("x-opt-k"), Value: genValue(1).Draw(t, "note")}}))
		}
		deliveryNotes := section(t, nil, 0x71, "amqp:delivery-annotations:map", []byte{0xc1, 0x01, 0x00})
		payload := bytes.Join([][]byte{head, deliveryNotes, notes, bare}, nil)
		p.send(payload)
		want := bytes.Join([][]byte{head, notes, bare}, nil)
		if len(want) == 0 { // [130] an empty frame is never sent
			want = []byte{0x00, 0x53, 0x70, 0x45}
		}
		if got := p.receive(); !bytes.Equal(got, want) {
			t.Fatalf("sent % x\n got % x\nwant % x", payload, got, want)
		}
	})
}

// [184] [185] [186] What the broker is told of a message.
func TestMessaging_3_2_1_WhatTheBrokerIsTold(t *testing.T) {
	p := newPair(t, &frames.Source{Address: wire.Some("other")})
	now := time.Now().UnixMilli()
	for _, c := range []struct {
		name   string
		header message.Header
		expiry int64 // absolute
		want   routing.Envelope
		within int64 // of the expiry, in ms
	}{
		{"nothing", message.Header{}, 0, routing.Envelope{Priority: 4}, 0},
		{
			"durable with a priority",
			message.Header{Durable: true, Priority: wire.Some(uint8(9))},
			0,
			routing.Envelope{Persistent: true, Priority: 9},
			0,
		},
		{"a ttl", message.Header{TTL: wire.Some(uint32(60_000))}, 0, routing.Envelope{Priority: 4, Expiry: now + 60_000}, 10_000},
		{
			"a ttl, and an earlier expiry",
			message.Header{TTL: wire.Some(uint32(60_000))},
			now + 30_000,
			routing.Envelope{Priority: 4, Expiry: now + 30_000},
			0,
		},
		{
			"a ttl, and a later expiry",
			message.Header{TTL: wire.Some(uint32(60_000))},
			now + 900_000,
			routing.Envelope{Priority: 4, Expiry: now + 60_000},
			10_000,
		},
	} {
		b := c.header.Append(nil)
		if c.expiry != 0 {
			b = (&message.Properties{AbsoluteExpiryTime: wire.Some(wire.Timestamp(c.expiry))}).Append(b)
		}
		count := len(p.broker.Record().Sent)
		p.send(message.AppendData(b, []byte(c.name)))
		if err := p.broker.Await(deadline(t), func(r prototest.Record) bool { return len(r.Sent) > count }); err != nil {
			t.Fatal(err)
		}
		got := p.broker.Record().Sent[count]
		if d := got.Expiry - c.want.Expiry; d < 0 || d > c.within {
			t.Errorf("%s: got expiry %d, want %d", c.name, got.Expiry, c.want.Expiry)
		}
		if got.Persistent != c.want.Persistent || got.Priority != c.want.Priority {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

// asked returns what the broker is asked for by an attach.
func asked(t *testing.T, a *frames.Attach) routing.SubscribeOptions {
	t.Helper()
	broker := memory(t)
	a.Role, a.Target = frames.RoleReceiver, &frames.Target{}
	connect(t, Options{Env: protocols.Env{Broker: broker, Auth: prototest.Users(nil), Log: zerolog.Nop(), Node: "n1"}}, a)
	if err := broker.Await(deadline(t), func(r prototest.Record) bool { return len(r.Subscribed) > 0 }); err != nil {
		t.Fatal(err)
	}
	return broker.Record().Subscribed[0]
}

// [97] [167] Filters, durable and shared subscriptions are the broker's: it is
// told of all that was asked for.
func TestMessaging_3_5_3_WhatTheBrokerIsAsked(t *testing.T) {
	selector := wire.Entry{Key: wire.Symbol("jms-selector"), Value: wire.Described{Descriptor: codeSelector, Value: "a = 1"}}
	noLocal := wire.Entry{Key: wire.Symbol("no-local"), Value: wire.Described{Descriptor: codeNoLocal, Value: "NoLocalFilter{}"}}
	topic := []wire.Symbol{capTopic}
	for _, c := range []struct {
		name   string
		attach frames.Attach
		want   routing.SubscribeOptions
	}{
		{
			"two filters",
			frames.Attach{Name: "l", Source: &frames.Source{Address: wire.Some("q"), Filter: wire.Map{selector, noLocal}}},
			routing.SubscribeOptions{Address: routing.Queue("q"), Selector: "a = 1", NoLocal: true},
		},
		{
			"a filter with a symbol as its descriptor",
			frames.Attach{Name: "l", Source: &frames.Source{
				Address: wire.Some("q"),
				Filter:  wire.Map{{Key: wire.Symbol("selector"), Value: wire.Described{Descriptor: symbolSelector, Value: "b"}}},
			}},
			routing.SubscribeOptions{Address: routing.Queue("q"), Selector: "b"},
		},
		{
			"a browser",
			frames.Attach{
				Name: "l", SndSettleMode: wire.Some(frames.SenderSettled),
				Source: &frames.Source{Address: wire.Some("q"), DistributionMode: frames.DistributionCopy},
			},
			routing.SubscribeOptions{Address: routing.Queue("q"), Browse: true, Settled: true},
		},
		{
			"a durable subscription of JMS",
			frames.Attach{Name: "news", Source: &frames.Source{
				Address: wire.Some("t"), Durable: frames.DurableUnsettled, ExpiryPolicy: frames.ExpireNever,
				DistributionMode: frames.DistributionCopy, Capabilities: topic,
			}},
			routing.SubscribeOptions{Address: routing.Topic("t"), Durable: "news"},
		},
		{
			"a shared one, the second link of it",
			frames.Attach{Name: "news|2", Source: &frames.Source{
				Address: wire.Some("t"), Durable: frames.DurableUnsettled, ExpiryPolicy: frames.ExpireNever,
				Capabilities: []wire.Symbol{capTopic, capShared},
			}},
			routing.SubscribeOptions{Address: routing.Topic("t"), Durable: "news", Shared: true},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if d := cmp.Diff(c.want, asked(t, &c.attach)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// [155] [157] What the broker is told of each outcome.
func TestMessaging_3_4_OutcomesReachTheBroker(t *testing.T) {
	p := newPair(t, &frames.Source{Address: wire.Some("q")})
	for _, c := range []struct {
		state frames.State
		want  routing.Outcome
	}{
		{frames.State{Kind: frames.StateAccepted}, routing.Outcome{Kind: routing.Accepted}},
		{frames.State{Kind: frames.StateRejected}, routing.Outcome{Kind: routing.Rejected}},
		{
			frames.State{Kind: frames.StateModified, UndeliverableHere: true},
			routing.Outcome{Kind: routing.Modified, UndeliverableHere: true},
		},
		{
			frames.State{Kind: frames.StateModified, DeliveryFailed: true},
			routing.Outcome{Kind: routing.Modified, DeliveryFailed: true},
		},
		{frames.State{Kind: frames.StateReleased}, routing.Outcome{Kind: routing.Released}},
	} {
		count := len(p.broker.Record().Settled)
		p.send(message.AppendData(nil, []byte("x")))
		p.receive()
		id := uint32(count)
		p.write(frames.AppendFrame(nil, 1, &frames.Disposition{
			Role: frames.RoleReceiver, First: id, Last: id, Settled: true, State: c.state,
		}))
		if err := p.broker.Await(deadline(t), func(r prototest.Record) bool { return len(r.Settled) > count }); err != nil {
			t.Fatal(err)
		}
		if got := p.broker.Record().Settled[count].Outcome; got != c.want {
			t.Errorf("got %+v of %v, want %+v", got, c.state.Kind, c.want)
		}
		if c.want.Kind == routing.Modified || c.want.Kind == routing.Released {
			p.receive() // it comes again; the next round settles it no more
			p.write(frames.AppendFrame(nil, 1, &frames.Disposition{
				Role: frames.RoleReceiver, First: id + 1, Last: id + 1, Settled: true, State: frames.State{Kind: frames.StateAccepted},
			}))
			if err := p.broker.Await(deadline(t), func(r prototest.Record) bool { return len(r.Settled) > count+1 }); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// unavailable is an authenticator that cannot ask anybody.
type unavailable struct{}

func (unavailable) Mechanisms(context.Context, net.Addr) []string { return []string{"PLAIN"} }

func (unavailable) Authenticate(context.Context, protocols.Credentials) (routing.Principal, error) {
	return routing.Principal{}, &routing.Error{Code: routing.CodeUnavailable, Op: "login"}
}

// [27] [31] One mechanism is an array, too; a login that cannot be judged now is
// told so, and only so: clients fail over.
func TestSecurity_5_3_3_LoginThatCannotBeJudged(t *testing.T) {
	k := dialSASL(t, unavailable{})
	head, err := k.in.peek(frames.HeaderSize)
	if err != nil {
		t.Fatal(err)
	}
	h, err := frames.ParseHeader(head)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := k.in.peek(int(h.Size))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(raw, []byte{0xe0}) {
		t.Errorf("got % x, want the mechanisms as an array", raw)
	}
	k.read()
	k.write(frames.AppendSASL(nil, &frames.SASLInit{Mechanism: "PLAIN", InitialResponse: []byte("\x00ann\x00secret")}))
	if o := k.read().(*frames.SASLOutcome); o.Outcome != frames.SASLSystemTrans {
		t.Errorf("got outcome %d, want %d", o.Outcome, frames.SASLSystemTrans)
	}
}

// [219] [220] Every reason that a broker can have is told with a standard
// condition, and none of them sends a client elsewhere.
func TestTransport_2_8_15_EveryCodeHasACondition(t *testing.T) {
	standard := map[frames.Condition]bool{
		frames.InternalError: true, frames.NotFound: true, frames.UnauthorizedAccess: true, frames.ResourceLimitExceeded: true,
		frames.InvalidField: true, frames.NotImplemented: true, frames.ResourceLocked: true, frames.ResourceDeleted: true,
		frames.IllegalState: true, frames.MessageSizeExceeded: true, frames.DetachForced: true,
	}
	for code := routing.CodeOK; code <= routing.CodeClosed; code++ {
		if got := wireError(&routing.Error{Code: code, Op: "send"}).Condition; !standard[got] {
			t.Errorf("got condition %s for code %s", got, code)
		}
	}
	if got := wireError(errors.New("boom")).Condition; got != frames.InternalError {
		t.Errorf("got condition %s for a bug, want %s", got, frames.InternalError)
	}
}
