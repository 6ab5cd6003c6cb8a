package stomp

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
)

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	broker := newBroker(t)
	for _, c := range []struct {
		name  string
		o     Options
		fails bool
	}{
		{"nothing set", Options{}, false},
		{"every dialect", Options{Dialect: Strict}, false},
		{"an unknown dialect", Options{Dialect: "openmq"}, true},
		{"an unknown outcome of NACK", Options{Switches: Switches{Nack: "drop"}}, true},
		{"an unknown kind of bare names", Options{Switches: Switches{Bare: "both"}}, true},
		{"an unknown moment of a receipt", Options{Switches: Switches{TransactionReceipt: "never"}}, true},
		{"an unknown answer to a late ACK", Options{Switches: Switches{LateAck: "maybe"}}, true},
		{"an unknown meaning of commas", Options{Switches: Switches{Commas: "many"}}, true},
		{"an unknown spelling of slashes", Options{Switches: Switches{Slashes: "back"}}, true},
		{"unknown wildcards", Options{Switches: Switches{Wildcards: "posix"}}, true},
		{"an unknown answer about wildcards of queues", Options{Switches: Switches{QueueWildcards: "yes"}}, true},
		{"an unknown rule for client-ids", Options{Switches: Switches{ClientIDs: "twice"}}, true},
		{"a negative limit", Options{Limits: Limits{Transactions: -1}}, true},
		{"a negative idle time", Options{Limits: Limits{Idle: -time.Second}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Env = protocols.Env{Broker: broker, Auth: prototest.Users{}}
			if _, err := New(c.o); (err != nil) != c.fails {
				t.Errorf("got error %v, want one: %v", err, c.fails)
			}
		})
	}
}

func TestSwitchesWinOverTheDialect(t *testing.T) {
	b, err := RabbitMQ.resolve(Switches{
		Nack: NackAccept, Bare: BareTopic, TransactionReceipt: ReceiptAtOnce, LateAck: LateAckError, ClientIDs: ClientIDsTakeOver,
		Server: "RabbitMQ/3.13", Hosts: []string{"*"},
	})
	if err != nil {
		t.Fatal(err)
	}
	d, err := b.parse("a")
	if err != nil || d.address.String() != "topic://a" {
		t.Errorf("got %v and %v, want topic://a", d.address, err)
	}
	if b.nack != NackAccept || !b.receiptAtOnce || !b.lateAckError || b.clientIDs != ClientIDsTakeOver || b.server != "RabbitMQ/3.13" || !b.admitsHost("anything") {
		t.Errorf("got %+v, want every switch in it", b)
	}
	if preset := dialects[RabbitMQ]; preset.nack != NackRequeue || preset.admitsHost("anything") {
		t.Errorf("the preset has changed: %+v", preset)
	}
}

func TestSeveralListenersShareTheMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	env := protocols.Env{Broker: newBroker(t), Auth: prototest.Users{}, Metrics: registry}
	first, err := New(Options{Env: env})
	if err != nil {
		t.Fatal(err)
	}
	second, err := New(Options{Env: env, Dialect: RabbitMQ})
	if err != nil {
		t.Fatal(err)
	}
	if first.metrics.received != second.metrics.received {
		t.Error("the second listener counts for itself")
	}
}
