package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/gateway/api"
	"github.com/selvedge-mq/selvedge/gateway/auth"
	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/routing"
)

const (
	requestTimeout = 10 * time.Second // of a question to the cluster
	headerTimeout  = 5 * time.Second
	maxHeader      = 16 << 10
)

// admin answers HTTP: health to everyone, metrics and the API to whom auth
// lets.
type admin struct {
	status *status
	queues *queueRates
	auth   *auth.Authenticator

	metrics http.HandlerFunc
	log     zerolog.Logger
}

func newAdmin(s *status, a *auth.Authenticator, g prometheus.Gatherer, log zerolog.Logger) *admin {
	metrics := promhttp.HandlerFor(g, promhttp.HandlerOpts{}).ServeHTTP
	return &admin{status: s, queues: newQueueRates(), auth: a, metrics: metrics, log: log}
}

// routes returns the paths of the admin API.
func (h *admin) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc(api.PathLive, h.get(h.live))
	mux.HandleFunc(api.PathReady, h.get(h.ready))
	mux.HandleFunc(api.PathMetrics, h.get(h.guarded(h.metrics)))
	mux.HandleFunc(api.PathNodes, h.get(h.guarded(h.nodes)))
	mux.HandleFunc(api.PathQueues, h.get(h.guarded(h.listQueues)))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		h.problem(w, http.StatusNotFound, "there is nothing at "+r.URL.Path)
	})
	return mux
}

// server returns an HTTP server that bounds what a request may cost.
func (h *admin) server(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           h.recovering(handler),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       2 * headerTimeout,
		WriteTimeout:      3 * requestTimeout,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    maxHeader,
	}
}

// get refuses other methods than GET and HEAD.
func (h *admin) get(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			h.problem(w, http.StatusMethodNotAllowed, "use GET")
			return
		}
		next(w, r)
	}
}

// remoteAddr is the peer of a request.
type remoteAddr string

func (remoteAddr) Network() string  { return "tcp" }
func (a remoteAddr) String() string { return string(a) }

// guarded admits who may use the admin API.
func (h *admin) guarded(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if foreignName(h.auth, r.Host) {
			h.problem(w, http.StatusForbidden, adviceHost)
			return
		}
		err := administers(h.auth, r)
		if err == nil {
			next(w, r)
			return
		}
		code := http.StatusForbidden
		switch {
		case routing.CodeOf(err) == routing.CodeFull:
			code = http.StatusTooManyRequests
		case h.auth.HasUsers():
			code = http.StatusUnauthorized
			w.Header().Set("WWW-Authenticate", challenge)
		}
		h.problem(w, code, reason(err))
	}
}

// administers says whether who asks may use the admin API now.
func administers(a *auth.Authenticator, r *http.Request) error {
	user, password, _ := r.BasicAuth()
	ctx := r.Context()
	if v := visitOf(ctx); v != nil {
		ctx = auth.WithCertificate(ctx, v.certificate)
	}
	return a.Administer(ctx, protocols.Credentials{User: user, Password: password, Remote: remoteAddr(r.RemoteAddr)})
}

// reason returns what a client may be told.
func reason(err error) string {
	if e, ok := errors.AsType[*routing.Error](err); ok {
		return e.Reason
	}
	return ""
}

const adviceHost = "ask for localhost or an IP address: other host names are not answered while no user is configured"

// foreignName reports whether a request may come from a page of a foreign site
// whose name was made to point to this machine, and could do harm.
func foreignName(a *auth.Authenticator, host string) bool {
	return a.Policy() == auth.Loopback && !a.HasUsers() && !localHost(host)
}

// localHost reports whether the Host header cannot be another site's name.
func localHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	if host == "localhost" || host == "" {
		return true
	}
	if len(host) > 1 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1]
	}
	_, err = netip.ParseAddr(host)
	return err == nil
}

func (h *admin) live(w http.ResponseWriter, _ *http.Request) {
	h.json(w, http.StatusOK, map[string]string{"status": "live"})
}

func (h *admin) ready(w http.ResponseWriter, _ *http.Request) {
	if err := h.status.ready(); err != nil {
		h.problem(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	h.json(w, http.StatusOK, api.Readiness{Status: "ready", Refuses: h.status.disk.refuses()})
}

func (h *admin) nodes(w http.ResponseWriter, r *http.Request) {
	h.json(w, http.StatusOK, h.status.allNodes(r.URL.Query().Get("retired") == "true"))
}

func (h *admin) listQueues(w http.ResponseWriter, r *http.Request) {
	b := h.status.engine()
	if b == nil {
		h.problem(w, http.StatusServiceUnavailable, "the node is starting")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
	defer cancel()
	list, err := h.queues.list(ctx, b)
	switch {
	case r.Context().Err() != nil: // nobody listens any more
	case err != nil:
		h.log.Warn().Err(err).Msg("queues not listed")
		h.problem(w, http.StatusServiceUnavailable, "not every node answered in time: try again, and look at the nodes' states")
	default:
		h.json(w, http.StatusOK, api.Queues{Queues: list, Missing: h.status.unlisted()})
	}
}

func (h *admin) json(w http.ResponseWriter, code int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic("gateway: an answer cannot be encoded: " + err.Error())
	}
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	if _, err := w.Write(append(text, '\n')); err != nil {
		h.log.Debug().Err(err).Msg("answer not written")
	}
}

func (h *admin) problem(w http.ResponseWriter, code int, detail string) {
	w.Header().Set("Content-Type", api.ContentTypeProblem)
	h.json(w, code, api.Problem{Type: "about:blank", Title: http.StatusText(code), Status: code, Detail: detail})
}

// recovering answers a panic, which is a bug, and logs it.
func (h *admin) recovering(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(p) // net/http's own way to end a connection
			}
			if p != nil {
				h.log.Error().Interface("panic", p).Str("path", r.URL.Path).Str("stack", string(debug.Stack())).Msg("request failed because of a bug")
				h.problem(w, http.StatusInternalServerError, "this is a bug: the node's log has it")
			}
		}()
		next.ServeHTTP(w, r)
	})
}
