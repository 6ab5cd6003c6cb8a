package gateway

import (
	"context"
	"net/http"
	"net/http/pprof"
	"strconv"
)

const (
	// profilesPath is where the tools of Go look for profiles.
	profilesPath = "/debug/pprof/"
	// longestProfile is how many seconds one may take.
	longestProfile = 60
)

// profiles adds the profiles of the process to the routes, for administrators. They
// tell names of functions and counts, nothing of messages; the command line and the
// trace of the runtime, which go with them elsewhere, are left out: the one may hold
// the secret, the other costs the node much. A profile of the processor is taken one
// at a time. All end with the life of the node.
func (h *admin) profiles(life context.Context, mux *http.ServeMux) {
	bounded := func(next http.HandlerFunc) http.HandlerFunc {
		return h.get(h.guarded(func(w http.ResponseWriter, r *http.Request) {
			if text := r.FormValue("seconds"); text != "" {
				if n, err := strconv.Atoi(text); err != nil || n < 1 || n > longestProfile {
					h.problem(w, http.StatusBadRequest, "seconds: want 1 to "+strconv.Itoa(longestProfile))
					return
				}
			}
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			defer context.AfterFunc(life, cancel)()
			next(w, r.WithContext(ctx)) //nolint:contextcheck // it is the request's, and life ends it too
		}))
	}
	mux.HandleFunc(profilesPath, bounded(pprof.Index))
	mux.HandleFunc(profilesPath+"profile", bounded(pprof.Profile))
}
