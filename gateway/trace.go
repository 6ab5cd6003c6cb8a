package gateway

import (
	"context"
	"net/http"
	"time"

	"github.com/selvedge-mq/selvedge/gateway/api"
	"github.com/selvedge-mq/selvedge/gateway/auth"
	"github.com/selvedge-mq/selvedge/protocols"
)

const mostWatchers = 8 // at a time: each costs every connection that it watches

// watching answers who wants to see the frames of connections.
type watching struct {
	traces  *protocols.Traces
	auth    *auth.Authenticator
	seats   chan struct{}
	ended   <-chan struct{} // closed when connections end
	problem func(w http.ResponseWriter, code int, detail string)
}

func newWatching(
	life context.Context, t *protocols.Traces, a *auth.Authenticator, problem func(http.ResponseWriter, int, string),
) *watching {
	return &watching{traces: t, auth: a, seats: make(chan struct{}, mostWatchers), ended: life.Done(), problem: problem}
}

// serve streams frames until the asker leaves, is too slow or may watch no more, or
// the node drains.
func (h *watching) serve(w http.ResponseWriter, r *http.Request) {
	select {
	case h.seats <- struct{}{}:
		defer func() { <-h.seats }()
	default:
		h.problem(w, http.StatusTooManyRequests, "there are as many traces as there may be: end another one")
		return
	}
	q := r.URL.Query()
	frames, stop := h.traces.Watch(protocols.TraceFilter{
		Protocol: q.Get("protocol"), Conn: q.Get("conn"), Client: q.Get("client"), User: q.Get("user"),
	})
	defer stop()
	out := newLines(w)
	if out.begin() != nil {
		return // the asker has left
	}
	for on := true; on; {
		replaced := h.auth.Replaced()
		on = administers(h.auth, r) == nil && h.stream(out, r, frames, replaced)
	}
}

// stream writes frames until other users are in force; false means that the
// stream has ended.
func (h *watching) stream(out *lines, r *http.Request, frames <-chan protocols.Trace, replaced <-chan struct{}) bool {
	for {
		select {
		case <-r.Context().Done():
			return false
		case <-h.ended:
			return false
		case <-replaced:
			return true
		case f := <-frames:
			if out.write(frameOf(f)) != nil {
				return false // the asker has left, or is too slow
			}
		}
	}
}

// frameOf is how a frame stands in the API.
func frameOf(f protocols.Trace) api.TraceFrame {
	return api.TraceFrame{
		Time: f.Time.Format(time.RFC3339Nano), Protocol: f.Protocol, Conn: f.Conn, Client: f.Client, User: f.User,
		Sent: f.Sent, Frame: f.Frame, Dropped: f.Dropped,
	}
}
