package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/selvedge-mq/selvedge/gateway/api"
	"github.com/selvedge-mq/selvedge/gateway/auth"
	"github.com/selvedge-mq/selvedge/protocols"
)

const (
	mostWatchers = 8                // at a time: each costs every connection that it watches
	watchWrite   = 10 * time.Second // for the asker to take a frame
)

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
	w.Header().Set("Content-Type", api.ContentTypeLines)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	if http.NewResponseController(w).Flush() != nil {
		return // the asker has left
	}
	for on := true; on; {
		replaced := h.auth.Replaced()
		on = administers(h.auth, r) == nil && h.stream(w, r, frames, replaced)
	}
}

// stream writes frames until other users are in force; false means that the
// stream has ended.
func (h *watching) stream(w http.ResponseWriter, r *http.Request, frames <-chan protocols.Trace, replaced <-chan struct{}) bool {
	out := http.NewResponseController(w)
	for {
		select {
		case <-r.Context().Done():
			return false
		case <-h.ended:
			return false
		case <-replaced:
			return true
		case f := <-frames:
			if writeFrame(w, out, f) != nil {
				return false // the asker has left, or is too slow
			}
		}
	}
}

func writeFrame(w http.ResponseWriter, out *http.ResponseController, f protocols.Trace) error {
	line, err := json.Marshal(api.TraceFrame{
		Time: f.Time.Format(time.RFC3339Nano), Protocol: f.Protocol, Conn: f.Conn, Client: f.Client, User: f.User,
		Sent: f.Sent, Frame: f.Frame, Dropped: f.Dropped,
	})
	if err != nil {
		panic("gateway: a frame cannot be encoded: " + err.Error())
	}
	if err := out.SetWriteDeadline(time.Now().Add(watchWrite)); err != nil {
		return err
	}
	if _, err := w.Write(append(line, '\n')); err != nil {
		return err
	}
	return out.Flush()
}
