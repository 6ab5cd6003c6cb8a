package gateway

import (
	"cmp"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/selvedge-mq/selvedge/gateway/config"
	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/amqp"
	"github.com/selvedge-mq/selvedge/protocols/stomp"
	"github.com/selvedge-mq/selvedge/routing"
)

// protocol is a row of the table of protocols.
type protocol struct {
	name  string
	open  func(c *config.Config, port config.Listener, env protocols.Env) (protocols.Frontend, error)
	codec func(codecs routing.Codecs) // adds its own
}

// table lists the protocols that a node speaks. A new one is a new row.
func table() []protocol {
	links, clients := new(amqp.Names), new(stomp.Clients) // of all listeners: a client may come back by another
	return []protocol{
		{
			name: config.ProtocolSTOMP,
			open: func(c *config.Config, port config.Listener, env protocols.Env) (protocols.Frontend, error) {
				o := stompOptions(c, port, env)
				o.Clients = clients
				return stomp.New(o)
			},
			codec: func(codecs routing.Codecs) { codecs[routing.EncodingSTOMP] = stomp.Codec{} },
		},
		{
			name: config.ProtocolAMQP,
			open: func(c *config.Config, port config.Listener, env protocols.Env) (protocols.Frontend, error) {
				o := amqpOptions(c, port, env)
				o.Names = links
				return amqp.New(o)
			},
			codec: func(codecs routing.Codecs) { codecs[routing.EncodingAMQP] = amqp.Codec{} },
		},
	}
}

// newFrontends makes the front-ends of a listener. Each listener has its own, so
// that they may differ, and are told apart by the metrics' label "listener".
func (n *Node) newFrontends(port config.Listener) (frontSet, error) {
	codecs := make(routing.Codecs)
	for _, row := range n.table {
		row.codec(codecs)
	}
	fronts := make(frontSet)
	for _, row := range n.table {
		if port.Protocol == config.ProtocolSTOMP || port.Protocol == config.ProtocolAMQP {
			if row.name != port.Protocol {
				continue
			}
		}
		front, err := row.open(n.cfg, port, n.env(port, codecs))
		if err != nil {
			return nil, fmt.Errorf("set up %s for the listener %s: %w", row.name, port.Name, err)
		}
		fronts[row.name] = front
	}
	return fronts, nil
}

// env is what the front-ends of a listener get.
func (n *Node) env(port config.Listener, codecs routing.Codecs) protocols.Env {
	return protocols.Env{
		Broker:     n.broker,
		Auth:       doorman{Authenticator: n.auth, conns: n.conns, metrics: n.metrics},
		Codecs:     codecs,
		Log:        n.log.With().Str("listener", port.Name).Logger(),
		Metrics:    prometheus.WrapRegistererWith(prometheus.Labels{"listener": port.Name}, n.registry),
		Node:       n.cfg.Node,
		Version:    n.version,
		Limits:     limits(n.cfg, port),
		Traces:     n.traces,
		Authorizer: n.rules,
		Failover:   func() []string { return n.status.failover(port.Name) },
		Alone:      n.alone,
	}
}

func stompOptions(c *config.Config, port config.Listener, env protocols.Env) stomp.Options {
	env.Limits.LargeSize = int(cmp.Or(port.MessageSize, c.STOMPMessageSize, c.MessageSize))
	return stomp.Options{
		Env: env, Dialect: stomp.Dialect(cmp.Or(port.Dialect, c.STOMPDialect)), Persistent: c.STOMPPersistent.On,
		Switches: stomp.Switches{
			Nack: stomp.Nack(c.STOMPNack), Bare: stomp.Bare(c.STOMPBareNames), LateAck: stomp.LateAck(c.STOMPLateAck),
			ClientIDs: stomp.ClientIDs(c.STOMPClientIDs), Commas: stomp.Commas(c.STOMPCommas), Slashes: stomp.Slashes(c.STOMPSlashes),
			Wildcards: stomp.Wildcards(c.STOMPWildcards), QueueWildcards: stomp.QueueWildcards(c.STOMPQueueWildcards),
			TransactionReceipt: stomp.TransactionReceipt(c.STOMPTransactionReceipt), Server: c.STOMPServer, Hosts: c.STOMPHosts,
			KeepOpen: c.STOMPKeepOpen.On,
		},
		Limits: stomp.Limits{
			LoginFrame: int(c.STOMPLoginFrame), Subscriptions: c.STOMPSubscriptions, Temporary: c.STOMPTemporary,
			Transactions: c.STOMPTransactions, Actions: c.STOMPTransactionSize, Idle: c.STOMPIdle,
			Transaction: c.STOMPTransactionTimeout, Write: c.STOMPWriteTimeout,
		},
	}
}

func amqpOptions(c *config.Config, port config.Listener, env protocols.Env) amqp.Options {
	return amqp.Options{
		Env: env, Dialect: amqp.Dialect(cmp.Or(port.Dialect, c.AMQPDialect)),
		QueuePrefix: c.AMQPQueuePrefix, TopicPrefix: c.AMQPTopicPrefix,
		TransactionTimeout: c.AMQPTransactionTimeout, NoBareAMQP: c.AMQPRequireSASL.On, IdleTimeout: c.AMQPIdleTimeout,
		MaxFrameSize: uint32(c.AMQPMaxFrameSize), Credit: uint32(c.AMQPCredit), Window: uint32(c.AMQPWindow), //nolint:gosec // bounded by the configuration
		Transactions: c.AMQPTransactions, Links: c.AMQPLinks, DynamicNodes: c.AMQPDynamicNodes,
		SuspendedBytes: int(c.AMQPSuspendedBytes), SuspendedTime: c.AMQPSuspendedTime,
	}
}

func limits(c *config.Config, port config.Listener) protocols.Limits {
	return protocols.Limits{
		MessageSize: wholeSize(c), LargeSize: int(cmp.Or(port.MessageSize, c.MessageSize)),
		HeaderCount: c.HeaderCount, HeaderSize: int(c.HeaderSize),
		LoginTimeout: c.LoginTimeout, InFlight: c.InFlight, InFlightBytes: int(c.InFlightBytes), Prefetch: c.Prefetch,
	}
}
