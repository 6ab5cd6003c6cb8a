package stomp

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
	"github.com/selvedge-mq/selvedge/routing"
)

// checked notes the logins that it is asked about.
type checked struct {
	certified

	mu     sync.Mutex
	logins []string
}

func (a *checked) Authenticate(ctx context.Context, c protocols.Credentials) (routing.Principal, error) {
	a.mu.Lock()
	a.logins = append(a.logins, c.Mechanism+" "+c.User+":"+c.Password)
	a.mu.Unlock()
	if c.Remote == nil {
		return routing.Principal{}, io.ErrUnexpectedEOF // whose turn it is could not be told
	}
	return a.certified.Authenticate(ctx, c)
}

// [stomp WebSocket_10] Whose login counts, and that it is checked once, as it stands.
func TestSTOMP_WebSocket_10_TheLoginOfTheRequest(t *testing.T) {
	users := prototest.Users{"alice": `a\nb:c`, "bob": " s "}
	for _, c := range []struct {
		name    string
		carried protocols.Login
		connect string
		user    string // of the session; empty: ERROR
		logins  []string
	}{
		{"where CONNECT has none", protocols.Login{User: "alice", Password: `a\nb:c`}, "", "alice", []string{`PLAIN alice:a\nb:c`}},
		{"where that of CONNECT is empty", protocols.Login{User: "alice", Password: `a\nb:c`}, "login:\npasscode:x\n", "alice", []string{`PLAIN alice:a\nb:c`}},
		{"blanks are part of it", protocols.Login{User: "bob", Password: " s "}, "", "bob", []string{"PLAIN bob: s "}},
		{"that of CONNECT comes first", protocols.Login{User: "alice", Password: "wrong"}, "login:bob\npasscode: s \naccept-version:1.2\n", "bob", []string{"PLAIN bob: s "}},
		{"it does not mend that of CONNECT", protocols.Login{User: "alice", Password: `a\nb:c`}, "login:alice\npasscode:wrong\n", "", []string{"PLAIN alice:wrong"}},
		{"it is wrong", protocols.Login{User: "alice", Password: "wrong"}, "", "", []string{"PLAIN alice:wrong"}},
		{"it has no escapes", protocols.Login{User: "alice", Password: `a\\nb\cc`}, "", "", []string{`PLAIN alice:a\\nb\cc`}},
		{"without one the certificate counts", protocols.Login{}, "", "carol", []string{"EXTERNAL :"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				auth := &checked{certified: certified{users}}
				s := newStage(t, protocols.Limits{}, auth)
				defer s.close()
				if c.carried.User != "" {
					s.ctx = protocols.WithLogin(s.ctx, c.carried)
				}
				if _, err := io.WriteString(s.peer("").nc, "CONNECT\n"+c.connect+"\n\x00"); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				got, closed := s.peers[""].take()
				if opened := s.broker.Record().Opened; c.user != "" && (len(opened) != 1 || opened[0].Principal.Name != c.user) {
					t.Errorf("got %+v and %q, want a session of %s", opened, got, c.user)
				}
				const refused = "ERROR\nmessage:User name [alice] or password is invalid.\n"
				if c.user == "" && (!strings.HasPrefix(got, refused) || !closed || strings.Contains(got, "wrong")) {
					t.Errorf("got %q, closed = %v, want %q and the end", got, closed, refused)
				}
				if d := cmp.Diff(c.logins, auth.logins); d != "" {
					t.Errorf("logins that were checked (-want +got):\n%s", d)
				}
			})
		})
	}
}

// [stomp WebSocket_10] Neither the trace nor the log has the password, though they
// show the name.
func TestSTOMP_WebSocket_10_ThePasswordIsNotShown(t *testing.T) {
	before := zerolog.GlobalLevel()
	zerolog.SetGlobalLevel(zerolog.TraceLevel)
	t.Cleanup(func() { zerolog.SetGlobalLevel(before) })
	for _, password := range []string{"topsecret", "topsecret-too"} { // right, wrong
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			var all protocols.Traces
			s := newStageOf(t, Options{Env: protocols.Env{
				Auth: prototest.Users{"alice": "topsecret"}, Traces: &all, Log: zerolog.New(&out).Level(zerolog.TraceLevel),
			}})
			frames, stop := all.Watch(protocols.TraceFilter{User: "alice"})
			s.ctx = protocols.WithLogin(s.ctx, protocols.Login{User: "alice", Password: password})
			if _, err := io.WriteString(s.peer("").nc, "CONNECT\n\n\x00"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			s.close()
			stop()
			if len(frames) == 0 {
				t.Error("got no frame under the user's name, want some")
			}
			for len(frames) > 0 {
				if f := <-frames; strings.Contains(f.Frame, "topsecret") {
					t.Errorf("got %q, want no password", f.Frame)
				}
			}
			if got := out.String(); !strings.Contains(got, `"frame":"CONNECT"`) || strings.Contains(got, "topsecret") {
				t.Errorf("got %s, want the frame, and no password", got)
			}
		})
	}
}
