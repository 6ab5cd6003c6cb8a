package bench

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/selvedge-mq/selvedge/cmd/selvedge/internal/endpoint"
)

// Names of protocols, and of STOMP's ack modes.
const (
	STOMP = endpoint.STOMP
	AMQP  = endpoint.AMQP

	AckEach  = "client-individual"
	AckBatch = "client"
	AckAuto  = "auto"
)

// Options say what load is put on which broker. New fills in the defaults.
type Options struct {
	Protocol         string   // of the producers: STOMP or AMQP
	ConsumerProtocol string   // of the consumers; the producers' if empty
	Servers          []string // HOST:PORT or URLs, see endpoint.Parse; producers are spread over them
	ConsumerServers  []string // consumers are spread over them; Servers if empty
	User             string   // where a URL names none
	Password         string
	TLS              bool        // speak TLS to a HOST:PORT
	Trust            *tls.Config // of TLS; may be nil

	Queue     string // the name; with several queues "-1", "-2" … is appended
	Queues    int
	Producers int
	Consumers int

	Size       int           // bytes of a body, at least MinSize
	Count      int64         // messages of all producers; 0: until Duration ends
	Duration   time.Duration // how long producers send
	Rate       float64       // messages per second of all producers; 0: as fast as it goes
	Persistent bool
	Window     int    // unconfirmed messages per producer; 0: no confirmation is asked for
	Ack        string // AckEach, AckBatch or AckAuto
	Credit     int    // unsettled messages per consumer and queue

	Reconnect bool          // connect again after an error and send again what is unconfirmed
	Patience  time.Duration // how long to wait for a confirmation or a message that does not come
	Linger    time.Duration // how long consumers go on when nothing is missing

	// Explain adds to the reason why a connection does not come about what to look
	// at; nil leaves it as it is.
	Explain func(err error, at *endpoint.Endpoint) error
}

// complete fills in defaults and tells what cannot be.
func (o *Options) complete() error {
	if o.ConsumerProtocol == "" {
		o.ConsumerProtocol = o.Protocol
	}
	if len(o.ConsumerServers) == 0 && o.ConsumerProtocol == o.Protocol {
		o.ConsumerServers = o.Servers
	}
	if known(o.Protocol) && known(o.ConsumerProtocol) {
		o.Servers = o.withDefault(o.Servers, o.Protocol)
		o.ConsumerServers = o.withDefault(o.ConsumerServers, o.ConsumerProtocol)
	}
	o.Queue = strings.TrimPrefix(strings.TrimPrefix(o.Queue, "queue://"), "/queue/")
	switch {
	case !known(o.Protocol) || !known(o.ConsumerProtocol):
		return fmt.Errorf("protocol: want %s or %s", STOMP, AMQP)
	case o.Ack != AckEach && o.Ack != AckBatch && o.Ack != AckAuto:
		return fmt.Errorf("ack: want %s, %s or %s", AckEach, AckBatch, AckAuto)
	case o.Queue == "" || strings.Contains(o.Queue, "://") || strings.HasPrefix(o.Queue, "/"):
		return fmt.Errorf("queue %q: a bench needs the name of a queue; on a topic each consumer gets every message", o.Queue)
	case o.Producers < 0 || o.Consumers < 0:
		return errors.New("producers, consumers: must not be negative")
	case o.Producers+o.Consumers == 0:
		return errors.New("producers, consumers: at least one of either is needed")
	case o.Producers > maxProducers:
		return fmt.Errorf("producers: at most %d", maxProducers)
	case o.Queues < 1 || o.Credit < 1:
		return errors.New("queues, credit: at least 1")
	case o.Size < MinSize:
		return fmt.Errorf("size: at least %d bytes, for the sequence number and the time", MinSize)
	case o.Count < 0 || o.Duration < 0 || o.Rate < 0 || o.Window < 0:
		return errors.New("count, duration, rate, window: must not be negative")
	case o.Producers > 0 && o.Count == 0 && o.Duration == 0:
		return errors.New("count or duration: one of them must be set, and more than 0")
	case o.Patience <= 0 || o.Linger < 0:
		return errors.New("patience: must be positive; linger: must not be negative")
	case o.Reconnect && o.Window == 0:
		return errors.New("reconnect: needs receipts, else nobody knows what to send again")
	}
	return errors.Join(o.checkServers(o.Servers, o.Protocol), o.checkServers(o.ConsumerServers, o.ConsumerProtocol))
}

func known(protocol string) bool { return protocol == STOMP || protocol == AMQP }

func (o *Options) withDefault(servers []string, protocol string) []string {
	if len(servers) > 0 {
		return servers
	}
	e := endpoint.Default(protocol, o.TLS)
	return []string{e.Addr}
}

// queueName is the name of the queue with that number.
func (o *Options) queueName(n int) string {
	if o.Queues == 1 {
		return o.Queue
	}
	return fmt.Sprintf("%s-%d", o.Queue, n+1)
}

// queuesOf are the queues that a consumer reads: one, or its share when there
// are more queues than consumers.
func (o *Options) queuesOf(consumer int) []int {
	if o.Consumers >= o.Queues {
		return []int{consumer % o.Queues}
	}
	var queues []int
	for q := consumer; q < o.Queues; q += o.Consumers {
		queues = append(queues, q)
	}
	return queues
}
