package gateway

import (
	"context"
	"errors"
	"net/http"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/gateway/api"
	"github.com/selvedge-mq/selvedge/gateway/config"
	"github.com/selvedge-mq/selvedge/gateway/websock"
)

// webServers are the HTTP servers of a node: one for the admin API, and one for
// each protocol that has ports of WebSockets alone.
type webServers struct {
	log     zerolog.Logger
	servers map[string]*http.Server // by the protocol of their ports
	ports   map[string]*handoff
}

func (n *Node) newWebServers(life context.Context) *webServers {
	s := &webServers{log: n.log, servers: make(map[string]*http.Server), ports: make(map[string]*handoff)}
	admin := newAdmin(n.status, n.auth, n.registry, n.log)
	sockets := &web{
		conns: n.conns, auth: n.auth, origins: n.cfg.WSOrigins, compress: n.cfg.WSCompression.On, stomp: websock.Answer(n.cfg.STOMPWSAnswers), login: n.cfg.STOMPWSLogin.On,
		problem: admin.problem,
	}
	mux := admin.routes()
	mux.HandleFunc(api.PathTrace, admin.get(admin.guarded(newWatching(life, n.traces, n.auth, admin.problem).serve)))
	mux.Handle(api.PathRetire, admin.guarded(newRetiring(n.status, n.log, admin.problem).handler(life)))
	if n.cfg.PProf.On {
		admin.profiles(life, mux)
	}
	for _, p := range []string{config.ProtocolSTOMP, config.ProtocolAMQP} {
		upgrade := sockets.upgrade(life, p)
		mux.HandleFunc("/"+p, upgrade)
		s.add(p, admin.server(upgrade), newHandoff(n.cfg.MaxConnections, n.cfg.MaxAddressConnections))
	}
	s.add(config.ProtocolHTTP, admin.server(mux), newHandoff(n.cfg.MaxConnections, n.cfg.MaxAddressConnections))
	for p, server := range s.servers {
		n.wg.Go(func() {
			if err := server.Serve(s.ports[p]); !errors.Is(err, http.ErrServerClosed) {
				n.log.Error().Err(err).Msg("http ended")
			}
		})
	}
	return s
}

func (s *webServers) add(protocol string, server *http.Server, port *handoff) {
	server.ConnContext = withVisit
	s.servers[protocol] = server
	s.ports[protocol] = port
}

// of returns where the HTTP connections of a port go.
func (s *webServers) of(p config.Listener) *handoff {
	if p.WebSocket {
		return s.ports[p.Protocol]
	}
	return s.ports[config.ProtocolHTTP]
}

// shutdown waits for the requests under way, as long as ctx allows.
func (s *webServers) shutdown(ctx context.Context) {
	for p, server := range s.servers {
		if err := server.Shutdown(ctx); err != nil {
			s.log.Warn().Err(err).Msg("http requests cut off")
			_ = server.Close() // the rest is given up
		}
		_ = s.ports[p].Close() // the server did it; one that never served did not
	}
}
