package gateway

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/gateway/auth"
	"github.com/selvedge-mq/selvedge/gateway/config"
)

// Profiles are there when they were asked for, and for administrators alone.
func TestProfiles(t *testing.T) {
	root, other := auth.User{Name: "root", Password: hash, Admin: true}, auth.User{Name: "other", Password: hash}
	gzip := []byte{0x1f, 0x8b} // begins a profile
	for _, tt := range []struct {
		name, user, path string
		on               bool
		code             int
		want             []byte // begins the body
	}{
		{"nothing is there by default", "root", "heap", false, 404, nil},
		{"of the processor", "root", "profile?seconds=1", true, 200, gzip},
		{"of the memory", "root", "heap", true, 200, gzip},
		{"of goroutines", "root", "goroutine", true, 200, gzip},
		{"one that lasts too long", "root", "profile?seconds=61", true, 400, []byte(`{"type":"about:blank","title":"Bad Request","status":400,"detail":"seconds: want 1 to 60"`)},
		{"a difference that takes too long", "root", "heap?seconds=61", true, 400, nil},
		{"the command line may hold the secret", "root", "cmdline", true, 404, nil},
		{"a trace of the runtime costs too much", "root", "trace", true, 404, nil},
		{"others may not see the processor's", "other", "profile?seconds=1", true, 401, nil},
		{"others may not see the memory's", "other", "heap", true, 401, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, addrs := newTellers(t, func(c *config.Config) {
				c.Users, c.PProf.On = []auth.User{root, other}, tt.on
			})
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addrs["http"]+"/debug/pprof/"+tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.SetBasicAuth(tt.user, "secret")
			resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != tt.code || !bytes.HasPrefix(body, tt.want) {
				t.Errorf("got %d %.80q, error %v, want %d %q", resp.StatusCode, body, err, tt.code, tt.want)
			}
		})
	}
}

// A profile under way does not keep the node from stopping.
func TestAProfileEndsWithTheNode(t *testing.T) {
	life, end := context.WithCancel(t.Context())
	end()
	_, registry := newMetrics("n1", "1.0")
	admin := newAdmin(newTestStatus(t, "", "n1"), newTestAuth(t, auth.Options{}), registry, zerolog.Nop())
	mux := http.NewServeMux()
	admin.profiles(life, mux)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/debug/pprof/profile?seconds=60", nil)
	r.Host, r.RemoteAddr = "localhost:8161", "127.0.0.1:40000"
	w, began := httptest.NewRecorder(), time.Now()
	mux.ServeHTTP(w, r)
	if took := time.Since(began); w.Code != http.StatusOK || took > 30*time.Second {
		t.Errorf("got %d after %v, want the profile ended", w.Code, took)
	}
}
