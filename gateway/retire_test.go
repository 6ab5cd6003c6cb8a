package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/cluster"
	"github.com/selvedge-mq/selvedge/gateway/api"
)

// newTestRetiring serves the retirement of a cluster whose answers the test sets.
func newTestRetiring(life context.Context, t *testing.T, f *fakeFabric) string {
	t.Helper()
	s := newTestStatus(t, "prod", "n1")
	s.attach(f, &fakeBroker{})
	problem := (&admin{log: zerolog.Nop()}).problem
	mux := http.NewServeMux()
	mux.HandleFunc(api.PathRetire, newRetiring(s, zerolog.Nop(), problem).handler(life))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func call(t *testing.T, method, url string, header http.Header) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		r.Header = header
	}
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	resp, err := (&http.Client{Transport: tr}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func stepsOf(t *testing.T, body io.Reader) []api.RetireStep {
	t.Helper()
	var steps []api.RetireStep
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		var step api.RetireStep
		if err := json.Unmarshal(lines.Bytes(), &step); err != nil {
			t.Fatalf("%s: %v", lines.Bytes(), err)
		}
		steps = append(steps, step)
	}
	return steps
}

func TestRetire_StepsAreStreamed(t *testing.T) {
	f := newFakeFabric()
	f.retire = func(_ context.Context, node, by string, tell func(string)) error {
		tell("one: " + node)
		tell("two: " + by)
		if node == "half" {
			return retireError(cluster.ErrNoQuorum)
		}
		return nil
	}
	url := newTestRetiring(t.Context(), t, f)
	resp := call(t, http.MethodPost, url+api.RetirePath("c"), http.Header{"Authorization": {"Basic YW5uOnNlY3JldA=="}}) //nolint:bodyclose // call does
	want := []api.RetireStep{{Step: "one: c"}, {Step: "two: ann"}, {Done: true}}
	if d := cmp.Diff(want, stepsOf(t, resp.Body)); d != "" || resp.Header.Get("Content-Type") != api.ContentTypeLines {
		t.Errorf("got %s (+), want (-):\n%s", resp.Header.Get("Content-Type"), d)
	}
	resp = call(t, http.MethodPost, url+api.RetirePath("half"), nil) //nolint:bodyclose // call does
	want = []api.RetireStep{{Step: "one: half"}, {Step: "two: somebody at 127.0.0.1"}, {Error: "no quorum"}}
	if d := cmp.Diff(want, stepsOf(t, resp.Body)); d != "" {
		t.Errorf("got (+), want (-):\n%s", d)
	}
}

func TestRetire_RefusalsAreProblems(t *testing.T) {
	f := newFakeFabric()
	var fails error
	f.retire = func(context.Context, string, string, func(string)) error { return retireError(fails) }
	f.restore = func(string, string) error { return retireError(fails) }
	url := newTestRetiring(t.Context(), t, f) + api.RetirePath("c")
	for _, c := range []struct {
		name   string
		method string
		header http.Header
		err    error
		want   int
		detail string
	}{
		{"an unknown node", "POST", nil, cluster.ErrUnknownNode, 404, "the node is not known"},
		{"a node that is alive", "POST", nil, cluster.ErrRetirement, 409, "the node cannot be retired"},
		{"no quorum", "POST", nil, cluster.ErrNoQuorum, 503, "no quorum"},
		{"a failure", "POST", nil, errors.New("a secret of the node"), 500, "the node's log has the reason"},
		{"an undo that is refused", "DELETE", nil, cluster.ErrRetirement, 409, "the node cannot be retired"},
		{"another method", "PUT", nil, nil, 405, "use POST"},
		{"a page of a foreign site", "POST", http.Header{"Sec-Fetch-Site": {"cross-site"}}, nil, 403, "a page of another site"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fails = c.err
			resp := call(t, c.method, url, c.header) //nolint:bodyclose // call does
			var p api.Problem
			if err := json.NewDecoder(resp.Body).Decode(&p); err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != c.want || !strings.Contains(p.Detail, c.detail) || strings.Contains(p.Detail, "cluster:") {
				t.Errorf("got %d %q, want %d %q", resp.StatusCode, p.Detail, c.want, c.detail)
			}
		})
	}
}

func TestRetire_IsUndone(t *testing.T) {
	f := newFakeFabric()
	var got string
	f.restore = func(node, by string) error {
		got = node + " by " + by
		return nil
	}
	resp := call(t, http.MethodDelete, newTestRetiring(t.Context(), t, f)+api.RetirePath("c"), nil) //nolint:bodyclose // call does
	if d := cmp.Diff([]api.RetireStep{{Done: true}}, stepsOf(t, resp.Body)); d != "" || got != "c by somebody at 127.0.0.1" {
		t.Errorf("got %s, steps (+), want (-):\n%s", got, d)
	}
}

// A retirement ends with the node that works on it, and there are never many at a
// time.
func TestRetire_IsBounded(t *testing.T) {
	f := newFakeFabric()
	f.retire = func(ctx context.Context, _, _ string, tell func(string)) error {
		tell("begun")
		<-ctx.Done()
		return ctx.Err()
	}
	life, end := context.WithCancel(t.Context())
	url := newTestRetiring(life, t, f) + api.RetirePath("c")
	var all []*http.Response
	for range mostRetiring {
		all = append(all, call(t, http.MethodPost, url, nil)) //nolint:bodyclose // call does
	}
	if got := call(t, http.MethodPost, url, nil).StatusCode; got != http.StatusTooManyRequests { //nolint:bodyclose // call does
		t.Errorf("one more than there may be: got %d, want %d", got, http.StatusTooManyRequests)
	}
	end()
	for _, resp := range all {
		steps := stepsOf(t, resp.Body)
		if len(steps) != 2 || !strings.Contains(steps[1].Error, "interrupted") {
			t.Errorf("got %+v, want an interruption", steps)
		}
	}
}

func TestNodes_OfTheRegistry(t *testing.T) {
	seen := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	later := seen.Add(time.Hour)
	f := newFakeFabric()
	f.members = []member{
		{name: "up", up: true, status: published(t, api.Node{Name: "up", State: api.NodeUp})},
		{name: "down", lastSeen: later},
		{name: "gone", lastSeen: later},
	}
	f.known = []registered{
		{name: "n1", state: api.NodeAbsent, lastSeen: seen},
		{name: "up", state: api.NodeAbsent, lastSeen: seen},
		{name: "down", state: api.NodeAbsent, lastSeen: seen},
		{name: "gone", state: api.NodeRetired, lastSeen: seen, retiredBy: "ann", retiredAt: later},
		{name: "away", state: api.NodeAbsent, version: "1.0", cluster: "10.0.0.9:6222", lastSeen: seen},
		{name: "half", state: api.NodeRetiring, retiredBy: "ann", retiredAt: later},
		{name: "old", state: api.NodeRetired, lastSeen: seen, retiredBy: "ann", retiredAt: later},
	}
	s := newTestStatus(t, "prod", "n1")
	s.attach(f, &fakeBroker{counts: counts{ready: true}})
	s.setServing()
	lines := func(retired bool) []string {
		var out []string
		for _, n := range s.allNodes(retired).Nodes {
			out = append(out, strings.TrimSpace(strings.Join([]string{n.Name, string(n.State), n.LastSeen, n.RetiredBy, n.RetiredAt}, " ")))
		}
		return out
	}
	want := []string{
		"away absent 2026-11-20T10:00:00Z", "down down 2026-11-20T11:00:00Z", "half retiring  ann 2026-11-20T11:00:00Z", "n1 up", "up up",
	}
	if d := cmp.Diff(want, lines(false)); d != "" {
		t.Errorf("got (+), want (-):\n%s", d)
	}
	want = []string{
		"away absent 2026-11-20T10:00:00Z", "down down 2026-11-20T11:00:00Z",
		"gone retired 2026-11-20T11:00:00Z ann 2026-11-20T11:00:00Z", "half retiring  ann 2026-11-20T11:00:00Z", "n1 up",
		"old retired 2026-11-20T10:00:00Z ann 2026-11-20T11:00:00Z", "up up",
	}
	if d := cmp.Diff(want, lines(true)); d != "" {
		t.Errorf("with the retired ones: got (+), want (-):\n%s", d)
	}
}

func TestClusterState_OfTheRegistry(t *testing.T) {
	for state, want := range map[api.NodeState]api.State{
		api.NodeAbsent: api.StateDegraded, api.NodeRetiring: api.StateDegraded, api.NodeRetired: api.StateHealthy,
	} {
		f := newFakeFabric()
		f.known = []registered{{name: "c", state: state}}
		s := newTestStatus(t, "prod", "n1")
		s.attach(f, &fakeBroker{counts: counts{ready: true}})
		s.setServing()
		for _, retired := range []bool{false, true} {
			if got := s.allNodes(retired).State; got != want {
				t.Errorf("%s: got %s, want %s", state, got, want)
			}
		}
	}
}
