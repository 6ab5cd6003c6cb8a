package gateway

import (
	"context"
	"net/http"

	"github.com/selvedge-mq/selvedge/gateway/auth"
	"github.com/selvedge-mq/selvedge/gateway/config"
	"github.com/selvedge-mq/selvedge/gateway/websock"
	"github.com/selvedge-mq/selvedge/protocols/stomp"
)

const adviceNear = "ask for localhost or an IP address: other host names are not answered where clients of this machine need no login"

// web turns requests into connections of STOMP and AMQP, by WebSocket. A page of
// a foreign site is refused, so that it cannot use what its visitor may do.
type web struct {
	conns    *conns // the clients'
	auth     *auth.Authenticator
	origins  []string
	compress bool
	stomp    websock.Answer
	login    bool // that of the handshake counts, for STOMP
	problem  func(w http.ResponseWriter, code int, detail string)
}

// subprotocols are the names of the protocols in the handshake.
func subprotocols(protocol string) websock.Options {
	if protocol == config.ProtocolAMQP {
		return websock.Options{Protocols: []string{"amqp"}, Require: true}
	}
	return websock.Options{Protocols: stomp.Subprotocols(), Answer: websock.AnswerMirror}
}

// upgrade answers the handshake and serves the connection. life is the context
// of all client connections.
func (s *web) upgrade(life context.Context, protocol string) http.HandlerFunc {
	o := subprotocols(protocol)
	o.Origins, o.Compress = s.origins, s.compress
	if protocol == config.ProtocolSTOMP {
		o.Answer = s.stomp
	}
	return func(w http.ResponseWriter, r *http.Request) {
		v := visitOf(r.Context()) //nolint:contextcheck // a connection outlives its request's context
		if s.auth.AdmitsNear(v.RemoteAddr()) && !localHost(r.Host) {
			s.problem(w, http.StatusForbidden, adviceNear)
			return
		}
		life, ok := s.carried(life, protocol, r)
		if !ok {
			v.from.metrics.refuse(protocol, refusedHandshake)
			w.Header().Set("WWW-Authenticate", challenge)
			s.problem(w, http.StatusUnauthorized, adviceLogin)
			return
		}
		fronts := v.from.fronts.Load()
		if fronts == nil {
			s.problem(w, http.StatusServiceUnavailable, "the node is starting")
			return
		}
		cl, why := s.conns.add(v.cut, addrOf(v.RemoteAddr()))
		if cl == nil {
			v.from.metrics.refuse(protocol, why)
			code, detail := http.StatusServiceUnavailable, "there are as many connections as max-connections allows"
			if why == refusedAddress {
				code, detail = http.StatusTooManyRequests, "there are as many connections from here as max-connections-per-address allows"
			}
			s.problem(w, code, detail)
			return
		}
		defer s.conns.remove(cl)
		s.conns.over(cl, v.raw)
		nc, err := websock.Accept(w, r, v.LocalAddr(), v.RemoteAddr(), o)
		if err != nil {
			v.from.metrics.refuse(protocol, refusedHandshake)
			v.from.log.Debug().Stringer("remote", v.RemoteAddr()).Err(err).Msg("handshake refused")
			return
		}
		v.leave() // it is a client now, and counts as one
		v.from.guard(auth.WithCertificate(withClient(life, cl), v.certificate), (*fronts)[protocol], nc)
	}
}
