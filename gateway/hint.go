package gateway

import (
	"fmt"
	"strings"

	"github.com/selvedge-mq/selvedge/gateway/api"
)

// hint is for who sees a node start: where it listens and what to try next.
func hint(n api.Node) string {
	var s strings.Builder
	fmt.Fprintf(&s, "\nselvedge %s serves as node %s\n", n.Version, n.Name)
	for _, l := range []struct{ name, addr string }{{"STOMP", n.STOMP}, {"AMQP", n.AMQP}, {"HTTP", n.HTTP}, {"cluster", n.Cluster}} {
		if l.addr != "" {
			fmt.Fprintf(&s, "  %-8s %s\n", l.name, l.addr)
		}
	}
	for _, l := range n.Listeners {
		if l.Address != n.STOMP && l.Address != n.AMQP && l.Address != n.HTTP {
			fmt.Fprintf(&s, "  %-8s %s\n", l.Name, l.Address)
		}
	}
	if command := next(n); command != "" {
		fmt.Fprintf(&s, "Try next, in another terminal:\n  %s\n", command)
	}
	return s.String() + "\n"
}

// next is a command that works with this node as it stands.
func next(n api.Node) string {
	for _, l := range []struct{ addr, standard, protocol string }{
		{n.STOMP, "127.0.0.1:61613", ""}, {n.AMQP, "127.0.0.1:5672", " --protocol amqp"},
	} {
		switch near := reachable(l.addr, "127.0.0.1:0"); near {
		case "":
		case l.standard:
			return "selvedge send orders hello" + l.protocol
		default:
			return "selvedge send orders hello" + l.protocol + " --server " + near
		}
	}
	return ""
}
