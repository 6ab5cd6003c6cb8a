package stomp

import (
	"strings"
	"testing"

	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
	"github.com/selvedge-mq/selvedge/routing"
)

// browser is a session with one subscription that counts what it is asked.
type browser struct {
	nowhere
	options routing.SubscribeOptions
	sub     browserSub
}

type browserSub struct {
	nowhereToo
	granted int32
	drains  int
}

func (b *browserSub) Grant(n int32) { b.granted += n }
func (b *browserSub) Drain()        { b.drains++ }

func (b *browser) Subscribe(o routing.SubscribeOptions, _ routing.Sink, c routing.Completer, token uint64) routing.Subscription {
	b.options = o
	c.Complete([]routing.Result{{Token: token}})
	return &b.sub
}

func TestABrowserGetsEverythingThenTheEnd(t *testing.T) {
	broker := &browser{}
	m := benchMachine(t, broker)
	box, _ := m.results.(completer)
	var pool frame.Pool
	r := frame.NewReader(strings.NewReader("SUBSCRIBE\nid:b\ndestination:/queue/q\nbrowser:true\nack:client\n\n\x00"), &pool,
		frame.Limits{HeaderCount: 9, HeaderSize: 99, Body: 9})
	batch, err := r.Read()
	if err != nil {
		t.Fatal(err)
	}
	m.frame(&batch.Frames[0])
	m.complete(box.Take(nil))
	if !broker.options.Browse || broker.options.Settled || broker.sub.drains != 1 {
		t.Fatalf("got options %+v and %d drains, want a browser and one drain", broker.options, broker.sub.drains)
	}
	s := m.subs[subKey{name: "b"}]
	s.Deliver([]routing.Delivery{{Tag: routing.Tag{Key: 1}, Envelope: routing.Envelope{
		Address: routing.Queue("q"), Encoding: routing.EncodingSTOMP, Payload: []byte("destination:/queue/q\n\nx"),
	}}})
	m.deliver(m.deliveries.Take(nil))
	s.Drained(0) // the credit was used up: there may be more
	s.Drained(5)
	for _, e := range m.events.Take(nil) {
		e.run(m)
	}
	if broker.sub.drains != 2 {
		t.Errorf("got %d drains, want one more after the credit was used up", broker.sub.drains)
	}
	got := string(m.out)
	want := "MESSAGE\nmessage-id:ID-0-1\nsubscription:b\nexpires:0\npriority:0\ntimestamp:0\ndestination:/queue/q\n\nx\x00\n" +
		"MESSAGE\nmessage-id:0\nsubscription:b\ndestination:/queue/q\nbrowser:end\n\n\x00\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
