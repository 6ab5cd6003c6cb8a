package main

// load is one row: the arguments of selvedge bench, in which $stompA and the like
// stand for the addresses of two nodes, and what the row is held to.
type load struct {
	name   string
	nodes  int
	args   string
	limits []limit
}

// figure is a number that a run of a load comes to.
type figure struct {
	name, format, unit string
	of                 func(*sample) float64
}

var (
	sent      = &figure{"sent", "%.0f", "", func(s *sample) float64 { return s.sent }}
	received  = &figure{"received", "%.0f", "", func(s *sample) float64 { return s.received }}
	confirm50 = &figure{"confirmation p50", "%.2f", " ms", func(s *sample) float64 { return s.confirm.P50 }}
	confirm99 = &figure{"confirmation p99", "%.2f", " ms", func(s *sample) float64 { return s.confirm.P99 }}
	deliver50 = &figure{"delivery p50", "%.2f", " ms", func(s *sample) float64 { return s.deliver.P50 }}
	deliver99 = &figure{"delivery p99", "%.2f", " ms", func(s *sample) float64 { return s.deliver.P99 }}
	batch     = &figure{"batch", "%.1f", "", func(s *sample) float64 { return s.batch }}
	nodeCPU   = &figure{"node CPU", "%.1f", " µs", func(s *sample) float64 { return s.cpu }}
)

// limit is what the median of a figure is held to: a bound, or the median of the
// same figure of another load.
type limit struct {
	of    *figure
	sign  string // ≥, ≤ or <
	bound float64
	than  string // the other load, of a node alone
}

// The limits, on two cores that the nodes share with the clients.
var (
	thrifty = limit{of: nodeCPU, sign: "≤", bound: 12}

	sendAlone    = []limit{{of: sent, sign: "≥", bound: 100_000}, thrifty}
	throughQueue = []limit{{of: received, sign: "≥", bound: 70_000}, thrifty}
	asFast       = []limit{{of: received, sign: "≥", than: lone}, thrifty}
	soon         = []limit{{of: confirm50, sign: "<", bound: 1}, {of: confirm99, sign: "<", bound: 5}}
	replicated   = []limit{{of: received, sign: "≥", bound: 30_000}}
)

const (
	// lone is the load that the one without persistence is compared with.
	lone = "T1 STOMP, one producer, one consumer"
	// receipts is the load that other brokers are compared with.
	receipts = "S1 STOMP, sends alone"
)

var loads = []load{
	{lone, 1, "--servers $stompA", throughQueue},
	{"T2 STOMP, four of each, four queues", 1, "--servers $stompA --producers 4 --consumers 4 --queues 4", throughQueue},
	{receipts, 1, "--servers $stompA --consumers 0", sendAlone},
	{"T1 AMQP, one producer, one consumer", 1, "--protocol amqp --servers $amqpA", throughQueue},
	{"T3 AMQP, four of each, four queues", 1, "--protocol amqp --servers $amqpA --producers 4 --consumers 4 --queues 4", throughQueue},
	{"S2 AMQP, sends alone", 1, "--protocol amqp --servers $amqpA --consumers 0", sendAlone},
	{"T5 STOMP, non-persistent", 1, "--servers $stompA --no-persistent", asFast},
	{"T6 STOMP, 64 KiB", 1, "--servers $stompA --size 65536 --window 100", nil},
	{"L1 STOMP, one unconfirmed", 1, "--servers $stompA --window 1", nil},
	{"L2 STOMP, 1,000 a second", 1, "--servers $stompA --rate 1000", soon},
	{"L2 AMQP, 1,000 a second", 1, "--protocol amqp --servers $amqpA --rate 1000", soon},
	{lone, 3, "--servers $stompA --consumer-servers $stompB", replicated},
	{"T2 STOMP, four of each, four queues", 3, "--servers $stompA,$stompB --consumer-servers $stompB,$stompA --producers 4 --consumers 4 --queues 4", replicated},
	{"T4 STOMP in at A, AMQP out at B", 3, "--servers $stompA --consumer-protocol amqp --consumer-servers $amqpB", replicated},
	{"L1 STOMP, one unconfirmed", 3, "--servers $stompA --consumer-servers $stompB --window 1", nil},
	{"L2 STOMP, 1,000 a second", 3, "--servers $stompA --consumer-servers $stompB --rate 1000", nil},
}
