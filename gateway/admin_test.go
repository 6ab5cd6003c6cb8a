package gateway

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"golang.org/x/crypto/bcrypt"

	"github.com/selvedge-mq/selvedge/gateway/api"
	"github.com/selvedge-mq/selvedge/gateway/auth"
)

// ask sends one request to an admin handler with a fake cluster behind it.
type ask struct {
	method, path   string // GET by default
	host           string // localhost by default
	remote         string // loopback by default
	user, password string
	users          []auth.User
	anonymous      auth.Policy
	change         func(f *fakeFabric, b *fakeBroker, s *status)
}

func (a ask) do(t *testing.T) *http.Response {
	t.Helper()
	f := newFakeFabric()
	b := &fakeBroker{counts: counts{ready: true}, queues: []queueCount{{name: "orders", leader: "n1", depth: 2}}}
	s := newTestStatus(t, "", "n1")
	s.attach(f, b)
	s.setServing()
	if a.change != nil {
		a.change(f, b, s)
	}
	_, registry := newMetrics("n1", "1.0")
	admin := newAdmin(s, newTestAuth(t, auth.Options{Users: a.users, Anonymous: a.anonymous}), registry, zerolog.Nop())
	h := admin.server(admin.routes()).Handler
	if a.method == "" {
		a.method = http.MethodGet
	}
	r := httptest.NewRequestWithContext(t.Context(), a.method, a.path, nil)
	r.Host, r.RemoteAddr = "localhost:8161", "127.0.0.1:40000"
	if a.host != "" {
		r.Host = a.host
	}
	if a.remote != "" {
		r.RemoteAddr = a.remote
	}
	if a.user != "" {
		r.SetBasicAuth(a.user, a.password)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func TestAdmin(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	users := []auth.User{{Name: "root", Password: string(hash), Admin: true}, {Name: "alice", Password: string(hash)}}
	const far = "192.0.2.1:40000"
	for _, tt := range []struct {
		name string
		ask  ask
		code int
		want string // in the body
	}{
		{"it lives", ask{path: "/livez"}, 200, `{"status":"live"}`},
		{"everyone may ask whether it lives", ask{path: "/livez", remote: far, users: users}, 200, ""},
		{"it is ready", ask{path: "/readyz", remote: far, users: users}, 200, `{"status":"ready"}`},
		{"HEAD is as good as GET", ask{path: "/readyz", method: "HEAD"}, 200, ""},
		{
			"a node that refuses messages for a full disk is ready for consumers, who make room",
			ask{path: "/readyz", change: func(_ *fakeFabric, _ *fakeBroker, s *status) { s.disk.refuseFor("n2") }},
			200, `{"status":"ready","refuses":"the disk of node n2 is nearly full (disk-full)`,
		},
		{
			"it is not ready while it drains",
			ask{path: "/readyz", change: func(_ *fakeFabric, _ *fakeBroker, s *status) { s.setDraining() }},
			503, "the node is draining",
		},
		{
			"it is not ready without a quorum",
			ask{path: "/readyz", change: func(f *fakeFabric, _ *fakeBroker, _ *status) { f.quorum = false }},
			503, "a majority of the cluster is out of reach",
		},
		{
			"it is not ready while a shard has no leader",
			ask{path: "/readyz", change: func(_ *fakeFabric, b *fakeBroker, _ *status) { b.counts.ready = false }},
			503, "a shard has no leader",
		},
		{"metrics tell the version", ask{path: "/metrics"}, 200, `selvedge_gateway_build_info{node="n1",version="1.0"} 1`},
		{"what an alert looks at begins at 0", ask{path: "/metrics"}, 200, `selvedge_gateway_panics_total{protocol="stomp"} 0`},
		{"nodes are listed", ask{path: "/api/v1/nodes"}, 200, `"nodes":[{"name":"n1","state":"up"`},
		{"queues are listed", ask{path: "/api/v1/queues"}, 200, `{"queues":[{"name":"orders","depth":2,`},
		{
			"queues without a leader are missed",
			ask{path: "/api/v1/queues", change: func(_ *fakeFabric, b *fakeBroker, _ *status) { b.counts.ready = false }},
			200, `"missing":"a shard has no leader: its queues are missing here"`,
		},
		{
			"queues are missed without a quorum",
			ask{path: "/api/v1/queues", change: func(f *fakeFabric, _ *fakeBroker, _ *status) { f.quorum = false }},
			200, `"missing":"a majority of the cluster is out of reach`,
		},
		{
			"queues need an engine",
			ask{path: "/api/v1/queues", change: func(f *fakeFabric, _ *fakeBroker, s *status) { s.attach(f, nil) }},
			503, "the node is starting",
		},
		{
			"queues need every node",
			ask{path: "/api/v1/queues", change: func(_ *fakeFabric, b *fakeBroker, _ *status) { b.err = io.EOF }},
			503, "not every node answered",
		},
		{"what is not there is a problem", ask{path: "/api/v2"}, 404, `"status":404,"detail":"there is nothing at /api/v2"`},
		{"only GET", ask{path: "/api/v1/nodes", method: "POST"}, 405, "use GET"},
		{"a far client is refused", ask{path: "/api/v1/nodes", remote: far}, 403, "only clients on the node's own machine"},
		{"metrics are refused too", ask{path: "/metrics", remote: far}, 403, "only clients on the node's own machine"},
		{"any admits a far client by any name", ask{path: "/api/v1/nodes", remote: far, host: "node1.example", anonymous: auth.Any}, 200, ""},
		{"another site's name is refused", ask{path: "/api/v1/nodes", host: "evil.example:8161"}, 403, "ask for localhost"},
		{"an IPv6 address is no name", ask{path: "/api/v1/nodes", host: "[::1]:8161"}, 200, ""},
		{"with users a near client needs a login", ask{path: "/api/v1/nodes", users: users}, 401, "log in as a user"},
		{"with users an administrator is admitted", ask{path: "/api/v1/nodes", users: users, user: "root", password: "secret", remote: far, host: "node1"}, 200, ""},
		{"with users a wrong password is refused", ask{path: "/api/v1/nodes", users: users, user: "root", password: "x"}, 401, "is wrong"},
		{"with users others are refused", ask{path: "/api/v1/nodes", users: users, user: "alice", password: "secret"}, 401, "not an administrator"},
		{
			"a bug is a problem",
			ask{path: "/api/v1/nodes", change: func(f *fakeFabric, _ *fakeBroker, s *status) { s.attach(f, (*fakeBroker)(nil)) }},
			500, "this is a bug",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := tt.ask.do(t)
			defer r.Body.Close()
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Fatal(err)
			}
			if r.StatusCode != tt.code || !strings.Contains(string(body), tt.want) {
				t.Errorf("got %d %s, want %d %s", r.StatusCode, body, tt.code, tt.want)
			}
			if r.StatusCode < 400 {
				return
			}
			var p api.Problem
			if err := json.Unmarshal(body, &p); err != nil || p.Status != tt.code || p.Title == "" || r.Header.Get("Content-Type") != api.ContentTypeProblem {
				t.Errorf("got %s of type %s, want a problem of %d", body, r.Header.Get("Content-Type"), tt.code)
			}
			if challenge := r.Header.Get("WWW-Authenticate"); (challenge != "") != (tt.code == 401) {
				t.Errorf("got challenge %q with %d, want one with 401 only", challenge, tt.code)
			}
		})
	}
}

func TestNodesBeforeTheCluster(t *testing.T) {
	s := newTestStatus(t, "prod", "n1")
	got := s.nodes()
	if got.State != api.StateNoQuorum || got.Quorum || len(got.Nodes) != 1 {
		t.Errorf("got %+v, want this node alone without a quorum", got)
	}
	if err := s.ready(); err == nil || err.Error() != "the node is starting" {
		t.Errorf("got %v, want that the node is starting", err)
	}
}
