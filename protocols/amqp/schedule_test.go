package amqp

import (
	"math"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/message"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
)

// A message that is to be delivered later, or once, says so to the broker.
func TestRequestsReachTheBroker(t *testing.T) {
	p := newPair(t, &frames.Source{Address: wire.Some("other")})
	const most = 1<<62 - 1 // what is added to a time without a wrap
	now := time.Now().UnixMilli()
	for _, c := range []struct {
		name        string
		annotations wire.Map
		properties  wire.Map
		at, within  int64
		id          string
	}{
		{"nothing", wire.Map{{Key: wire.Symbol("x-opt-a"), Value: int64(1)}}, wire.Map{{Key: "k", Value: "v"}}, 0, 0, ""},
		{"a time", wire.Map{{Key: deliveryTime, Value: now + 60_000}}, nil, now + 60_000, 0, ""},
		{"a timestamp", wire.Map{{Key: deliveryTime, Value: wire.Timestamp(now)}}, nil, now, 0, ""},
		{"a delay", wire.Map{{Key: deliveryDelay, Value: uint64(60_000)}}, nil, now + 60_000, 10_000, ""},
		{"a delay beyond all time", wire.Map{{Key: deliveryDelay, Value: int64(math.MaxInt64)}}, nil, now + most, 10_000, ""},
		{"one that is a timestamp", wire.Map{{Key: deliveryDelay, Value: wire.Timestamp(math.MaxInt64)}}, nil, now + most, 10_000, ""},
		{"a time beyond all time", wire.Map{{Key: deliveryTime, Value: uint64(math.MaxUint64)}}, nil, most, 0, ""},
		{"no delay", wire.Map{{Key: deliveryDelay, Value: int32(0)}}, nil, 0, 0, ""},
		{"the name as a value", wire.Map{{Key: wire.Symbol("x-opt-a"), Value: "x-opt-delivery-time"}}, nil, 0, 0, ""},
		{"an id", nil, wire.Map{{Key: duplicateID, Value: "once"}}, 0, 0, "once"},
	} {
		b := message.AppendMap(nil, message.CodeMessageAnnotations, c.annotations)
		b = message.AppendMap(b, message.CodeApplicationProperties, c.properties)
		count := len(p.broker.Record().Sent)
		p.send(message.AppendData(b, []byte(c.name)))
		if err := p.broker.Await(deadline(t), func(r prototest.Record) bool { return len(r.Sent) > count }); err != nil {
			t.Fatal(err)
		}
		got := p.broker.Record().Sent[count]
		if d := got.DeliverAt - c.at; d < 0 || d > c.within {
			t.Errorf("%s: got %d, want delivery at %d", c.name, got.DeliverAt, c.at)
		}
		if got.DedupeID != c.id {
			t.Errorf("%s: got id %q, want %q", c.name, got.DedupeID, c.id)
		}
	}
}
