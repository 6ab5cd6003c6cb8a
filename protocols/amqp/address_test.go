package amqp

import (
	"testing"

	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/routing"
)

func TestAddressesOfEverySpelling(t *testing.T) {
	topic := []wire.Symbol{"other", capTopic}
	for _, c := range []struct {
		text         string
		capabilities []wire.Symbol
		want         routing.Address
		bad          frames.Condition
	}{
		{text: "orders", want: routing.Queue("orders")},
		{text: "orders", capabilities: topic, want: routing.Topic("orders")},
		{text: "orders", capabilities: []wire.Symbol{capTempQueue}, want: routing.Address{Kind: routing.KindTempQueue, Name: "orders"}},
		{text: "queue://a/b", capabilities: topic, want: routing.Queue("a/b")},
		{text: "topic://a.b", want: routing.Topic("a.b")},
		{text: "temp-topic://x", want: routing.Address{Kind: routing.KindTempTopic, Name: "x"}},
		{text: "/queue/a", want: routing.Queue("a")},
		{text: "/topic/a.>", bad: frames.NotImplemented},
		{text: "/queues/a%2Fb", want: routing.Queue("a/b")},
		{text: "/queues/a%2", bad: frames.InvalidField},
		{text: "address::queue", want: routing.Queue("queue")},
		{text: "::queue", bad: frames.InvalidField},
		{text: "", bad: frames.InvalidField},
		{text: "queue://", bad: frames.InvalidField},
		{text: "a\nb", bad: frames.InvalidField},
		{text: "$cbs", bad: frames.NotFound},
	} {
		t.Run(c.text, func(t *testing.T) {
			got, bad := plainSpeller.parse(c.text, c.capabilities)
			if bad != nil && bad.Condition != c.bad || bad == nil && c.bad != "" || got != c.want {
				t.Errorf("got %v, %v, want %v, %q", got, bad, c.want, c.bad)
			}
		})
	}
}

// Words that are wildcards at the dialect's broker, and names that stand for several
// queues there, were taken for literal names: a consumer of topic://prices.* was given a
// topic that nobody sends to, without a word.
func TestNamesThatMeanMoreAreRefused(t *testing.T) {
	for _, c := range []struct {
		dialect Dialect
		text    string
		refused bool
	}{
		{Artemis, "a.*", true},
		{Artemis, "topic://a.#.b", true},
		{Artemis, "queue://>", true},
		{Artemis, "a.*b", false},
		{Artemis, "a,b", false},
		{Artemis, "temp-queue://a.*", false},
		{ActiveMQ, "topic://a.>", true},
		{ActiveMQ, "queue://a,topic://b", true},
		{ActiveMQ, "a,b", true},
		{ActiveMQ, "temp-queue://a,b", false},
		{RabbitMQ, "/exchanges/amq.topic/a.%23", true},
		{RabbitMQ, "/topic/a.*", true},
		{RabbitMQ, "/topic/a.>", false},
		{RabbitMQ, "/queues/a.*", false},
	} {
		t.Run(string(c.dialect)+" "+c.text, func(t *testing.T) {
			s := newSpeller(c.dialect, "", "")
			_, bad := s.parse(c.text, nil)
			if got := bad != nil && bad.Condition == frames.NotImplemented; got != c.refused || bad != nil && !c.refused {
				t.Errorf("got %v, want refused %v", bad, c.refused)
			}
		})
	}
}
