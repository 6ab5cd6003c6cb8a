package gateway

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selvedge-mq/selvedge/gateway/api"
	"github.com/selvedge-mq/selvedge/gateway/auth"
	"github.com/selvedge-mq/selvedge/gateway/config"
	"github.com/selvedge-mq/selvedge/protocols"
)

// watch opens a stream of frames; it ends with the test.
func watch(t *testing.T, addr, query string) (code int, media string, lines *bufio.Reader) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+api.PathTrace+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp.StatusCode, resp.Header.Get("Content-Type"), bufio.NewReader(resp.Body)
}

func TestTrace(t *testing.T) {
	r, addrs := newTellers(t, nil)
	code, media, lines := watch(t, addrs["http"], "?protocol=stomp&user=alice")
	if code != http.StatusOK || media != api.ContentTypeLines {
		t.Fatalf("got %d of type %s, want a stream of lines", code, media)
	}
	at := time.Date(2026, 11, 25, 10, 0, 0, 5e6, time.UTC)
	for _, f := range []protocols.Trace{
		{Protocol: "amqp", User: "alice", Frame: "open"},
		{Protocol: "stomp", User: "bob", Frame: "SEND"},
		{Time: at, Protocol: "stomp", Conn: "S-1", Client: "127.0.0.1:1", User: "alice", Sent: true, Frame: "MESSAGE\na:b"},
	} {
		r.node.traces.Offer(f)
	}
	line, err := lines.ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var got api.TraceFrame
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatal(err)
	}
	want := api.TraceFrame{
		Time: "2026-11-25T10:00:00.005Z", Protocol: "stomp", Conn: "S-1", Client: "127.0.0.1:1", User: "alice", Sent: true, Frame: "MESSAGE\na:b",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("got (+), want (-):\n%s", d)
	}
}

func TestTracesAreLimited(t *testing.T) {
	_, addrs := newTellers(t, nil)
	for i := range mostWatchers + 1 {
		code, _, _ := watch(t, addrs["http"], "")
		want := http.StatusOK
		if i == mostWatchers {
			want = http.StatusTooManyRequests
		}
		if code != want {
			t.Errorf("trace %d: got %d, want %d", i+1, code, want)
		}
	}
}

// TestATraceDoesNotHoldTheDrain: a stream that nobody ends must not keep the node
// from stopping.
func TestATraceDoesNotHoldTheDrain(t *testing.T) {
	r := newRig(t, newTestConfig(t, nil))
	r.run(t)
	_, _, lines := watch(t, r.ready(t).HTTP, "")
	began := time.Now()
	r.stop()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > r.node.cfg.DrainTimeout/2 {
		t.Errorf("got a drain of %v, want the stream ended", took)
	}
	if _, err := lines.ReadByte(); err == nil {
		t.Error("got another frame, want the end")
	}
}

// TestATraceEndsWithItsAsker: who is no administrator any more sees no more; another
// one's stream goes on.
func TestATraceEndsWithItsAsker(t *testing.T) {
	root, other := auth.User{Name: "root", Password: hash, Admin: true}, auth.User{Name: "other", Password: hash, Admin: true}
	r, addrs := newTellers(t, func(c *config.Config) { c.Users = []auth.User{root, other} })
	streams := make(map[string]*bufio.Reader)
	for _, name := range []string{"root", "other"} {
		code, _, lines := watch(t, name+":secret@"+addrs["http"], "")
		if code != http.StatusOK {
			t.Fatalf("%s: got %d, want a stream", name, code)
		}
		streams[name] = lines
	}
	other.Admin = false
	if err := r.node.auth.Replace(auth.Options{Users: []auth.User{root, other}}); err != nil {
		t.Fatal(err)
	}
	if line, err := streams["other"].ReadString('\n'); !errors.Is(err, io.EOF) {
		t.Errorf("got %q, %v of who may not watch any more, want the end", line, err)
	}
	r.node.traces.Offer(protocols.Trace{Frame: "SEND"})
	if line, err := streams["root"].ReadString('\n'); err != nil || !strings.Contains(line, "SEND") {
		t.Errorf("got %q, %v of who may watch, want the frame", line, err)
	}
}
