package auth

import (
	"context"
	"net"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/routing"
)

// gate is a hash that is computed when the test lets it.
type gate struct {
	counting

	open chan struct{}
}

func (g *gate) matches(password string) bool {
	<-g.open
	return g.counting.matches(password)
}

// fewLogins is how many logins of a place are checked at a time here.
const fewLogins = 5

// newGated returns an authenticator that computes one hash at a time, of alice,
// whose password is right.
func newGated(t *testing.T) (*Authenticator, *gate) {
	t.Helper()
	a, err := New(Options{Users: []User{{Name: "alice", Password: cheap(t, "right")}}})
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{open: make(chan struct{})}
	a.directory.Load().users["alice"] = login{hash: g, text: "x"}
	a.checks = newChecks(1, fewLogins)
	return a, g
}

func from(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 1} }

// TestAnAddressHasAFewLoginsChecked: who guesses at passwords fills its own share
// of the queue, not that of others.
func TestAnAddressHasAFewLoginsChecked(t *testing.T) {
	for _, tt := range []struct{ name, guesser, neighbour, other string }{
		{"IPv4", "192.0.2.1", "192.0.2.1", "192.0.2.2"},
		{"IPv6: a site is one", "2001:db8:0:1::1", "2001:db8:0:1:2:3:4:5", "2001:db8:0:2::1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, g := newGated(t)
				var wg sync.WaitGroup
				guess := func(ip, password string) error {
					_, err := a.Authenticate(t.Context(), protocols.Credentials{User: "alice", Password: password, Remote: from(ip)})
					return err
				}
				for i := range fewLogins {
					wg.Go(func() { checkDenied(t, guess(tt.guesser, strconv.Itoa(i)), wrongLogin) })
				}
				synctest.Wait()
				if err := guess(tt.neighbour, "one more"); routing.CodeOf(err) != routing.CodeFull {
					t.Errorf("got %v, want the login refused at once", err)
				}
				wg.Go(func() {
					if err := guess(tt.other, "right"); err != nil {
						t.Errorf("from elsewhere: got %v, want the login admitted", err)
					}
				})
				synctest.Wait()
				close(g.open)
				wg.Wait()
				if err := guess(tt.guesser, "right"); err != nil {
					t.Errorf("afterwards: got %v, want the login admitted", err)
				}
				if len(a.checks.running)+len(a.checks.waiting) > 0 {
					t.Errorf("got %v and %v left, want nothing", a.checks.running, a.checks.waiting)
				}
			})
		})
	}
}

// TestOneLoginIsCheckedOnce: a crowd behind one address that comes back with one
// login is one check, not a flood, even where the first of it goes away.
func TestOneLoginIsCheckedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, g := newGated(t)
		var wg sync.WaitGroup
		login := func(ctx context.Context) error {
			_, err := a.Authenticate(ctx, protocols.Credentials{User: "alice", Password: "right", Remote: far})
			return err
		}
		wg.Go(func() {
			_, err := a.Authenticate(t.Context(), protocols.Credentials{User: "alice", Password: "wrong", Remote: near})
			checkDenied(t, err, wrongLogin) // it has the slot
		})
		synctest.Wait()
		leaving, leave := context.WithCancel(t.Context())
		wg.Go(func() { checkDenied(t, login(leaving), "not checked in time") })
		synctest.Wait()
		for range 4 * fewLogins {
			wg.Go(func() {
				if err := login(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		close(g.open)
		wg.Wait()
		if g.n != 2 {
			t.Errorf("got %d hashes, want 2: of the wrong login and of the right one", g.n)
		}
	})
}
