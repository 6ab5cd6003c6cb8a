package main

import (
	"context"
	"io"
	"time"

	"github.com/selvedge-mq/selvedge/cmd/selvedge/internal/bench"
)

// BenchCmd is the verb bench.
type BenchCmd struct {
	Queue string `arg:"" optional:"" default:"bench" help:"Name of the queue."`

	Protocol         string   `enum:"stomp,amqp" default:"stomp" env:"SELVEDGE_PROTOCOL" group:"Where" help:"Protocol of the producers: stomp or amqp."`
	ConsumerProtocol string   `enum:"stomp,amqp," default:"" placeholder:"stomp|amqp" group:"Where" help:"Protocol of the consumers (default: that of the producers)."`
	Servers          []string `env:"SELVEDGE_SERVER" placeholder:"HOST:PORT" group:"Where" help:"Producers are spread over these brokers, HOST:PORT or URLs as send takes them (default: 127.0.0.1:61613 or :5672)."`
	ConsumerServers  []string `placeholder:"HOST:PORT" group:"Where" help:"Consumers are spread over these (default: as --servers, if both sides speak the same protocol)."`
	User             string   `env:"SELVEDGE_USER" placeholder:"NAME" group:"Where" help:"User, if the broker has any."`
	Password         string   `env:"SELVEDGE_PASSWORD" placeholder:"TEXT" group:"Where" help:"Password; better given by the environment than as a flag."`
	tlsFlags         `group:"Where"`

	Producers int           `default:"1" group:"Load" help:"Connections that send; 0 to check what an earlier run left in the queue."`
	Consumers int           `default:"1" group:"Load" help:"Connections that receive; 0 to leave the messages in the queue."`
	Queues    int           `default:"1" group:"Load" help:"Spread the messages over that many queues, named QUEUE-1, QUEUE-2, ..."`
	Size      int           `default:"256" group:"Load" help:"Bytes of a body."`
	Count     *int64        `placeholder:"N" group:"Load" help:"Messages of all producers (default: 100000, unless --duration is given); without producers, how many to wait for."`
	Duration  time.Duration `placeholder:"DURATION" group:"Load" help:"Send for that long."`
	Rate      float64       `placeholder:"N" group:"Load" help:"Messages per second of all producers (default: as fast as it goes)."`

	Persistent bool   `default:"true" negatable:"" group:"Guarantees" help:"Messages survive the failure of nodes."`
	Receipts   bool   `default:"true" negatable:"" group:"Guarantees" help:"Ask for a confirmation of each message."`
	Window     int    `default:"1000" group:"Guarantees" help:"Unconfirmed messages that a producer may have under way."`
	Ack        string `enum:"client-individual,client,auto" default:"client-individual" group:"Guarantees" help:"How consumers acknowledge: client-individual (each), client (many at once), auto (not at all)."`
	Credit     int    `default:"1000" group:"Guarantees" help:"Unacknowledged messages that a consumer may have, per queue."`

	Reconnect bool          `group:"Faults" help:"Connect again after an error, to the next server, and send again what is unconfirmed."`
	Patience  time.Duration `default:"10s" group:"Faults" help:"Give up when no confirmation or no missing message came for that long."`
	Linger    time.Duration `default:"250ms" group:"Faults" help:"Go on receiving when all is there, to see duplicates that come late."`
	JSON      bool          `name:"json" help:"Print the result as JSON; the lines meanwhile go to the error output."`
	Quiet     bool          `short:"q" help:"No line each second."`
}

// Help is shown by --help.
func (BenchCmd) Help() string {
	return `Each body holds the number of its producer, a sequence number and the time. So a run
knows at its end what was lost (confirmed and not received), what came twice (marked as
redelivered or not) and what came out of order (per producer, queue and consumer), and
how long messages took from send to confirmation and from send to delivery.

Examples:

    selvedge bench                                       # 100,000 persistent messages
    selvedge bench --duration 30s --producers 4 --consumers 4 --queues 4
    selvedge bench --window 1 --duration 10s             # latency of a lone message
    selvedge bench --rate 1000 --duration 1m             # latency at a given load
    selvedge bench --protocol stomp --servers node-a:61613 \
        --consumer-protocol amqp --consumer-servers node-b:5672
    selvedge bench --duration 1m --rate 5000 --reconnect --servers a:61613,b:61613,c:61613
                                  # kill a node meanwhile: the gaps are the failover
    selvedge bench --consumers 0 && selvedge bench --producers 0    # across a restart

The clients are the bench's own, for both protocols: they keep the window full and write
and settle in batches. A message of 256 bytes costs a producer about 2 µs and a consumer
about 3 µs of processor time, so one core can send some 400,000 a second. (go-amqp, which
send and receive use, was measured at 22 µs on either side: it writes each transfer and
each disposition by a system call of its own.) On one machine with the broker, remember
that both share the cores.

Exit codes: 0 all checks passed, 1 a check failed. Marked duplicates, and duplicates of
messages that the bench sent again after a reconnect, are counted and are no failure.`
}

// Run runs the load and prints the report.
func (c *BenchCmd) Run(ctx context.Context, s Streams) error {
	o := c.options()
	var err error
	if o.Trust, err = c.trust(); err != nil {
		return &exitError{code: exitUsage, err: err}
	}
	b, err := bench.New(o)
	if err != nil {
		return &exitError{code: exitUsage, err: err}
	}
	progress := s.Err
	if c.Quiet {
		progress = io.Discard
	}
	report, err := b.Run(ctx, progress)
	if err != nil {
		return err
	}
	if c.JSON {
		err = writeJSON(s.Out, report)
	} else {
		err = report.Write(s.Out)
	}
	if err == nil && !report.OK() {
		err = &exitError{code: exitFailed}
	}
	return err
}

func (c *BenchCmd) options() bench.Options {
	const defaultCount = 100_000
	o := bench.Options{
		Protocol: c.Protocol, ConsumerProtocol: c.ConsumerProtocol, Servers: c.Servers, ConsumerServers: c.ConsumerServers,
		User: c.User, Password: c.Password, TLS: c.TLS,
		Queue: c.Queue, Queues: c.Queues, Producers: c.Producers, Consumers: c.Consumers,
		Size: c.Size, Duration: c.Duration, Rate: c.Rate,
		Persistent: c.Persistent, Window: c.Window, Ack: c.Ack, Credit: c.Credit,
		Reconnect: c.Reconnect, Patience: c.Patience, Linger: c.Linger, Explain: explain,
	}
	switch {
	case c.Count != nil:
		o.Count = *c.Count
	case o.Duration == 0 && o.Producers > 0:
		o.Count = defaultCount
	}
	if !c.Receipts {
		o.Window = 0
	}
	return o
}
