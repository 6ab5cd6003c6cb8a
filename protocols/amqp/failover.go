package amqp

import (
	"net"
	"strconv"

	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
)

// failoverList is the value of the property failover-server-list: where else a
// client may connect. Addresses without a numeric port are left out.
func failoverList(addrs []string) wire.List {
	var list wire.List
	for _, a := range addrs {
		host, text, err := net.SplitHostPort(a)
		if err != nil {
			continue
		}
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			continue
		}
		list = append(list, wire.Map{
			{Key: wire.Symbol("network-host"), Value: host},
			{Key: wire.Symbol("port"), Value: int32(port)},
		})
	}
	return list
}
