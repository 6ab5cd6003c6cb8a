package bench

import (
	"context"
	"fmt"
	"net"

	"github.com/selvedge-mq/selvedge/cmd/selvedge/internal/endpoint"
)

// place is where a server is, with what is needed to get in.
type place struct {
	endpoint.Endpoint

	dial func(ctx context.Context) (net.Conn, error)
}

// reach reads a server's address. It must be one of the protocol.
func (o *Options) reach(server, protocol string) (*place, error) {
	e, err := endpoint.Parse(server, protocol)
	if err != nil {
		return nil, err
	}
	if e.Protocol != protocol {
		return nil, fmt.Errorf("server %s: the URL is of %s, and the protocol of that side is %s", e.Addr, e.Protocol, protocol)
	}
	if o.TLS {
		if err := e.RequireTLS(); err != nil {
			return nil, err
		}
	}
	if e.User == "" {
		e.User, e.Password = o.User, o.Password
	}
	return &place{e, func(ctx context.Context) (net.Conn, error) { return endpoint.Dial(ctx, &e, o.Trust) }}, nil
}

// unreached is why there is no connection with a server.
func (o *Options) unreached(at *place, err error) error {
	if o.Explain != nil {
		err = o.Explain(err, &at.Endpoint)
	}
	return fmt.Errorf("connect to %s: %w", at.Addr, err)
}

func (o *Options) checkServers(servers []string, protocol string) error {
	for _, s := range servers {
		if _, err := o.reach(s, protocol); err != nil {
			return err
		}
	}
	return nil
}
