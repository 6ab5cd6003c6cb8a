package gateway

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/selvedge-mq/selvedge/gateway/auth"
	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/routing"
)

// slowLogin is an exchange whose last step admits alice after something happened.
type slowLogin struct{ first func() }

func (s slowLogin) Step(context.Context, []byte) ([]byte, *routing.Principal, error) {
	s.first()
	return nil, &routing.Principal{Name: "alice"}, nil
}

// TestAUserWhoIsTakenAwayDuringTheLogin: the reload does not find the connection
// yet, so the login must find out.
func TestAUserWhoIsTakenAwayDuringTheLogin(t *testing.T) {
	alice, bob := auth.User{Name: "alice", Password: hash}, auth.User{Name: "bob", Password: hash}
	for _, tt := range []struct {
		name     string
		left     auth.User
		admitted bool
	}{
		{"another one is", alice, true},
		{"she is", bob, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newTestAuth(t, auth.Options{Users: []auth.User{alice, bob}})
			m, _ := newMetrics("n1", "1.0")
			d := doorman{Authenticator: a, conns: newConns(1, 0, 0), metrics: m}
			cl, _ := d.conns.add(func() error { return nil }, netip.Addr{})
			reload := func() {
				if err := a.Replace(auth.Options{Users: []auth.User{tt.left}}); err != nil {
					t.Error(err)
				}
				d.conns.expel(func(user string) bool { return !a.Knows(user) })
			}
			_, who, err := counted{slowLogin{reload}, d}.Step(withClient(t.Context(), cl), nil)
			if (who != nil) != tt.admitted || (err == nil) != tt.admitted {
				t.Errorf("got %v, %v, want admitted = %v", who, err, tt.admitted)
			}
			if err != nil && routing.CodeOf(err) != routing.CodeUnauthorized {
				t.Errorf("got %v, want unauthorized", err)
			}
		})
	}
}

// TestALoginThatFindsNoTurnIsCounted: who guesses at passwords is seen.
func TestALoginThatFindsNoTurnIsCounted(t *testing.T) {
	m, _ := newMetrics("n1", "1.0")
	a := newTestAuth(t, auth.Options{Users: []auth.User{{Name: "alice", Password: hash}}, Logins: 1})
	d := doorman{Authenticator: a, conns: newConns(1, 0, 0), metrics: m}
	var refused atomic.Int64
	for round := 0; refused.Load() == 0; round++ {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				_, err := d.Authenticate(t.Context(), protocols.Credentials{User: "alice", Password: fmt.Sprint("guess", round, i)})
				if routing.CodeOf(err) == routing.CodeFull {
					refused.Add(1)
				}
			})
		}
		wg.Wait()
	}
	if got, want := countOf(t, m.refused, "any", refusedLogins), float64(refused.Load()); got != want {
		t.Errorf("got %v logins counted as refused, want %v", got, want)
	}
}
