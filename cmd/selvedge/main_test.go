package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/selvedge-mq/selvedge/cmd/selvedge/internal/testbroker"
	"github.com/selvedge-mq/selvedge/gateway"
	"github.com/selvedge-mq/selvedge/gateway/api"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"selvedge": main})
}

// TestScripts runs testdata/*.txtar: one script a verb, against a node's API and
// a STOMP broker that stand in for the real ones.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", "atexit_sleep_ms=0") // each run of the command ends a second later under the race detector
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"api":    serveAPI,
			"broker": serveBroker,
			"amqp":   serveAMQP,
		},
	})
}

// serveAPI starts an HTTP server that answers with files: api NODES QUEUES
// [USER PASSWORD].
func serveAPI(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 && len(args) != 4 {
		ts.Fatalf("usage: api NODES QUEUES [USER PASSWORD]")
	}
	mux := http.NewServeMux()
	for i, path := range []string{api.PathNodes, api.PathQueues} {
		body := ts.ReadFile(args[i])
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			if user, password, _ := r.BasicAuth(); len(args) == 4 && (user != args[2] || password != args[3]) {
				w.Header().Set("Content-Type", api.ContentTypeProblem)
				w.WriteHeader(http.StatusUnauthorized)
				_, _ = fmt.Fprint(w, `{"title":"Unauthorized","status":401,"detail":"a login is needed"}`)
				return
			}
			_, _ = fmt.Fprint(w, body)
		})
	}
	mux.HandleFunc("GET "+api.PathTrace, func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, `{"time":"2026-11-25T10:00:00.5Z","protocol":"stomp","client":"127.0.0.1:1","user":"alice","sent":false,"frame":"SEND\ndestination:%s"}`+"\n",
			r.URL.Query().Get("user"))
		_, _ = fmt.Fprintln(w, `{"time":"2026-11-25T10:00:01Z","protocol":"amqp","client":"127.0.0.1:2","sent":true,"frame":"flow channel=0"}`)
	})
	mux.HandleFunc(api.PathRetire, retirement)
	s := httptest.NewServer(mux)
	ts.Defer(s.Close)
	ts.Setenv("SELVEDGE_HTTP", s.Listener.Addr().String())
}

// retirement answers as a node does that retires c, does not finish with half, ends
// in the middle of cut, does not know nobody, has no quorum for lost, and finds all
// others alive.
func retirement(w http.ResponseWriter, r *http.Request) {
	code, detail := http.StatusConflict, "the node cannot be retired: it is alive"
	switch node := r.PathValue("node"); {
	case node == "c" && r.Method == http.MethodDelete:
		_, _ = fmt.Fprintln(w, `{"done":true}`)
		return
	case node == "c":
		_, _ = fmt.Fprintln(w, `{"step":"waiting: shard 2"}`+"\n"+`{"step":"c is retired"}`+"\n"+`{"done":true}`)
		return
	case node == "half":
		_, _ = fmt.Fprintln(w, `{"step":"waiting: shard 2"}`+"\n"+`{"error":"interrupted: try again"}`)
		return
	case node == "cut":
		_, _ = fmt.Fprintln(w, `{"step":"waiting: shard 2"}`)
		return
	case node == "nobody":
		code, detail = http.StatusNotFound, "the node is not known"
	case node == "lost":
		code, detail = http.StatusServiceUnavailable, "no quorum"
	}
	w.Header().Set("Content-Type", api.ContentTypeProblem)
	w.WriteHeader(code)
	_, _ = fmt.Fprintf(w, `{"title":"refused","status":%d,"detail":%q}`, code, detail)
}

// serveBroker starts a STOMP broker: broker [mute | FAULT N | login USER PASSWORD],
// where the N-th message suffers the fault.
func serveBroker(ts *testscript.TestScript, _ bool, args []string) {
	faults := map[string]testbroker.Fault{
		"lose": testbroker.Lose, "double": testbroker.Double, "refuse": testbroker.Refuse, "cut": testbroker.Cut,
	}
	var opts testbroker.Options
	switch len(args) {
	case 0:
	case 1:
		opts.Mute = args[0] == "mute"
	case 2:
		fault, known := faults[args[0]]
		n, err := strconv.Atoi(args[1])
		if !known || err != nil {
			ts.Fatalf("usage: broker FAULT N")
		}
		opts.Fault = func(i int) testbroker.Fault {
			if i == n-1 {
				return fault
			}
			return testbroker.None
		}
	default:
		opts.Users = map[string]string{args[1]: args[2]}
	}
	b, err := testbroker.Open(context.Background(), opts)
	ts.Check(err)
	ts.Defer(b.Close)
	ts.Setenv("SELVEDGE_SERVER", b.Addr())
	ts.Setenv("SELVEDGE_PROTOCOL", protocolSTOMP)
}

func TestExitCodes(t *testing.T) {
	for _, err := range []error{&exitError{code: 2}, &exitError{code: 2, err: os.ErrClosed}} {
		if got := exitCode(fmt.Errorf("wrapped: %w", err), &failing{}); got != 2 {
			t.Errorf("%v: got %d, want 2", err, got)
		}
	}
	if got := exitCode(os.ErrClosed, &failing{}); got != exitFailed {
		t.Errorf("got %d, want %d", got, exitFailed)
	}
	if got := exitCode(fmt.Errorf("serve: %w", gateway.ErrRetired), &failing{}); got != exitRetired {
		t.Errorf("a node that was retired: got %d, want %d", got, exitRetired)
	}
}

type failing struct{}

func (*failing) Write([]byte) (int, error) { return 0, os.ErrClosed }
