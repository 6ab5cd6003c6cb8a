package gateway

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selvedge-mq/selvedge/gateway/auth"
	"github.com/selvedge-mq/selvedge/gateway/config"
	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/routing"
)

// hash is that of the password "secret", as cheap as bcrypt can be.
const hash = "$2a$04$WYkxc11KnSSPxtm6EwEOYOYXK2PPpeMw8k9.Yg.10c6q7QP00sX/."

func TestReload(t *testing.T) {
	c := newTestConfig(t, func(c *config.Config) {
		c.Users = []auth.User{{Name: "alice", Password: hash}, {Name: "bob", Password: hash}}
	})
	r := newRig(t, c)
	cut := make(chan string, 2)
	for _, user := range []string{"alice", "bob"} {
		cl, _ := r.node.conns.add(func() error { cut <- user; return nil }, netip.Addr{})
		if cl == nil || !r.node.conns.name(cl, user) {
			t.Fatal("got a refusal, want the connection admitted")
		}
	}
	next := *c
	next.Anonymous, next.AnonymousUser = "any", "bob"
	next.Users, next.Rules, next.Prefetch = c.Users[1:], []auth.Rule{{Address: "q", Read: []string{"bob"}}}, 7
	r.node.load = func() (*config.Config, error) { return &next, nil }
	r.node.reload()
	if got := <-cut; got != "alice" || len(cut) > 0 {
		t.Errorf("got the connection of %s cut, want that of alice alone", got)
	}
	if r.node.auth.Knows("alice") || !r.node.auth.Knows("bob") {
		t.Error("got the former users, want bob alone")
	}
	if who, err := r.node.auth.Authenticate(t.Context(), protocols.Credentials{}); who.Name != "bob" || err != nil {
		t.Errorf("got %+v, %v without a login, want bob", who, err)
	}
	on := routing.Queue("q")
	if r.node.rules.Authorize(routing.Principal{Name: "bob"}, routing.ActionRead, on) != nil ||
		r.node.rules.Authorize(routing.Principal{Name: "bob"}, routing.ActionWrite, on) == nil {
		t.Error("got the former rules, want the new ones")
	}
	if log := r.log.String(); !strings.Contains(log, "changed settings need a restart") || !strings.Contains(log, "prefetch") || strings.Contains(log, "anonymous") {
		t.Errorf("got log %s, want the settings that need a restart", log)
	}
	r.node.load = func() (*config.Config, error) { return nil, errors.New("line 3 is wrong") }
	r.node.reload()
	if !r.node.auth.Knows("bob") || !strings.Contains(r.log.String(), "line 3 is wrong") {
		t.Errorf("got log %s, want the former users and the reason", r.log)
	}
	for outcome, want := range map[string]float64{"done": 1, "failed": 1} {
		if got := countOf(t, r.node.metrics.reloads, outcome); got != want {
			t.Errorf("%s: got %v, want %v", outcome, got, want)
		}
	}
}

func TestTheFileIsFollowed(t *testing.T) {
	file := t.TempDir() + "/selvedge.yaml"
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a")
	r := newRig(t, newTestConfig(t, func(c *config.Config) { c.File = file }))
	synctest.Test(t, func(t *testing.T) {
		loads := make(chan time.Time, 10)
		r.node.load = func() (*config.Config, error) {
			loads <- time.Now()
			return r.node.cfg, nil
		}
		signals := make(chan os.Signal)
		r.node.hangup = signals
		ended := make(chan struct{})
		ctx, cancel := context.WithTimeout(t.Context(), 35*time.Second)
		defer cancel()
		began := time.Now()
		go func() {
			defer close(ended)
			r.node.follow(ctx)
		}()
		synctest.Wait() // it has read the file
		write("b")
		<-time.After(15 * time.Second) // by the bubble's clock
		signals <- os.Interrupt
		<-ended
		var at []time.Duration
		for len(loads) > 0 {
			at = append(at, (<-loads).Sub(began))
		}
		if d := cmp.Diff([]time.Duration{10 * time.Second, 15 * time.Second}, at); d != "" {
			t.Errorf("reloads: got (+), want (-):\n%s", d)
		}
	})
}
