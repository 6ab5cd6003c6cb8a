// Package amqptest serves AMQP from a broker in memory, for the tests of clients.
package amqptest

import (
	"context"
	"net"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/amqp"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
)

// Server is the product's front-end on a free port of this machine.
type Server struct {
	Broker *prototest.Broker
	Addr   string

	ln     net.Listener
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// Open starts a server that these users may log in to, everyone if there are none.
func Open(users prototest.Users) (*Server, error) {
	s := &Server{Broker: prototest.New()}
	f, err := amqp.New(amqp.Options{Env: protocols.Env{
		Broker: s.Broker, Auth: users, Log: zerolog.Nop(), Metrics: prometheus.NewRegistry(), Node: "a", Version: "test",
	}})
	if err != nil {
		s.Broker.Close()
		return nil, err
	}
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(context.Background())
	if s.ln, err = (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		s.cancel()
		s.Broker.Close()
		return nil, err
	}
	s.Addr = s.ln.Addr().String()
	s.wg.Go(func() {
		for {
			nc, err := s.ln.Accept()
			if err != nil {
				return // the port is closed
			}
			s.wg.Go(func() { _ = f.Serve(ctx, nc) }) // the client is told why it ends
		}
	})
	return s, nil
}

// Close ends all connections and waits for them.
func (s *Server) Close() {
	s.cancel()
	_ = s.ln.Close() // nothing more can be done about it
	s.wg.Wait()
	s.Broker.Close()
}
