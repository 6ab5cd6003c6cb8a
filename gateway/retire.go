package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/gateway/api"
	"github.com/selvedge-mq/selvedge/routing"
)

const mostRetiring = 4 // retirements that a node works on at a time

// retiring retires nodes for who asks for it.
type retiring struct {
	status  *status
	seats   chan struct{}
	pages   *http.CrossOriginProtection // against pages of foreign sites
	log     zerolog.Logger
	problem func(w http.ResponseWriter, code int, detail string)
}

func newRetiring(s *status, log zerolog.Logger, problem func(http.ResponseWriter, int, string)) *retiring {
	return &retiring{
		status: s, seats: make(chan struct{}, mostRetiring), pages: http.NewCrossOriginProtection(), log: log, problem: problem,
	}
}

// handler answers [api.PathRetire], until life ends.
func (h *retiring) handler(life context.Context) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := h.pages.Check(r); err != nil {
			h.problem(w, http.StatusForbidden, "a page of another site may not ask for this")
			return
		}
		f := h.status.registry()
		if f == nil {
			h.problem(w, http.StatusServiceUnavailable, "the node is starting")
			return
		}
		select {
		case h.seats <- struct{}{}:
			defer func() { <-h.seats }()
		default:
			h.problem(w, http.StatusTooManyRequests, "there are as many retirements under way as there may be: wait for one")
			return
		}
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(life, cancel)()
		by := asker(r)
		switch r.Method {
		case http.MethodPost:
			h.retire(ctx, w, f, r.PathValue("node"), by) //nolint:contextcheck // it is the request's, and life ends it too
		case http.MethodDelete:
			h.restore(ctx, w, f, r.PathValue("node"), by) //nolint:contextcheck // it is the request's, and life ends it too
		default:
			w.Header().Set("Allow", "POST, DELETE")
			h.problem(w, http.StatusMethodNotAllowed, "use POST to retire the node, DELETE to undo that")
		}
	}
}

// retire streams the steps. What is refused before the first one is a problem.
func (h *retiring) retire(ctx context.Context, w http.ResponseWriter, f registry, node, by string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	steps := newLines(w)
	err := f.Retire(ctx, node, by, func(step string) {
		if steps.write(api.RetireStep{Step: step}) != nil {
			cancel() // nobody listens any more: who comes back goes on from here
		}
	})
	switch {
	case err == nil:
		_ = steps.write(api.RetireStep{Done: true}) // the asker may have left
	case !steps.begun:
		h.refuse(w, err)
	default:
		h.log.Warn().Err(err).Msg("retirement interrupted")
		_ = steps.write(api.RetireStep{Error: retireReason(err)})
	}
}

// restore undoes a retirement.
func (h *retiring) restore(ctx context.Context, w http.ResponseWriter, f registry, node, by string) {
	if err := f.Restore(ctx, node, by); err != nil {
		h.refuse(w, err)
		return
	}
	_ = newLines(w).write(api.RetireStep{Done: true})
}

// refuse answers why nothing was done.
func (h *retiring) refuse(w http.ResponseWriter, err error) {
	code := http.StatusInternalServerError
	switch routing.CodeOf(err) {
	case routing.CodeNotFound:
		code = http.StatusNotFound
	case routing.CodeInvalid:
		code = http.StatusConflict
	case routing.CodeUnavailable:
		code = http.StatusServiceUnavailable
	default:
		h.log.Warn().Err(err).Msg("retirement failed")
	}
	h.problem(w, code, retireReason(err))
}

// retireReason is what the asker is told.
func retireReason(err error) string {
	if why := reason(err); why != "" {
		return why
	}
	if errors.Is(err, context.Canceled) {
		return "interrupted: try again, it goes on where it was"
	}
	return "the node's log has the reason"
}

// asker names who sent a request, for the registry and the log.
func asker(r *http.Request) string {
	if user, _, ok := r.BasicAuth(); ok {
		return user
	}
	if v := visitOf(r.Context()); v != nil && v.certificate != nil && v.certificate.Subject.CommonName != "" {
		return v.certificate.Subject.CommonName
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	return "somebody at " + host
}
