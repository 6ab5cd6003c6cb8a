package auth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"
	"pgregory.net/rapid"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/routing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	near = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	far  = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}
)

// cheap returns a hash that costs next to nothing.
func cheap(t *testing.T, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

// [stomp Connect_14] Whom a client is taken for.
func TestAuthenticate(t *testing.T) {
	users := []User{{Name: "alice", Password: cheap(t, "secret")}}
	login := func(user, password string, from net.Addr) protocols.Credentials {
		return protocols.Credentials{Mechanism: "PLAIN", User: user, Password: password, Remote: from}
	}
	nobody := func(from net.Addr) protocols.Credentials {
		return protocols.Credentials{Mechanism: "ANONYMOUS", Remote: from}
	}
	anonymous := routing.Principal{Anonymous: true}
	alice := routing.Principal{Name: "alice"}
	for _, tt := range []struct {
		name   string
		o      Options
		c      protocols.Credentials
		want   routing.Principal
		reason string
	}{
		{"without users a near client is admitted whatever login it sends", Options{}, login("guest", "guest", near), anonymous, ""},
		{"without users a near client is admitted without a login", Options{}, protocols.Credentials{Remote: near}, anonymous, ""},
		{"without users an IPv4 address in IPv6 clothes is near", Options{}, nobody(&net.TCPAddr{IP: net.ParseIP("::ffff:127.0.0.1"), Port: 1}), anonymous, ""},
		{"without users a far client is refused", Options{}, login("guest", "guest", far), anonymous, "only clients on the node's own machine"},
		{"without users any admits a far client", Options{Anonymous: Any}, login("guest", "guest", far), anonymous, ""},
		{"without users none refuses everyone", Options{Anonymous: None}, nobody(near), anonymous, "no client is admitted"},
		{"with users the right login is admitted", Options{Users: users}, login("alice", "secret", far), alice, ""},
		{"with users a login needs no mechanism", Options{Users: users}, protocols.Credentials{User: "alice", Password: "secret"}, alice, ""},
		{"with users a wrong password is refused", Options{Users: users}, login("alice", "Secret", near), alice, "the user name or the password is wrong"},
		{"with users a long password is refused", Options{Users: users}, login("alice", strings.Repeat("x", 2000), near), alice, "the user name or the password is wrong"},
		{"with users an unknown name is refused in the same words", Options{Users: users}, login("bob", "secret", near), alice, "the user name or the password is wrong"},
		{"with users a near client needs a login", Options{Users: users}, nobody(near), alice, "a login is required"},
		{"with users and loopback a near client needs none", Options{Users: users, Anonymous: Loopback}, nobody(near), anonymous, ""},
		{"a guest is the user that is set", Options{Users: users, Anonymous: Loopback, Guest: "alice"}, nobody(near), alice, ""},
		{"a guest is still one whom the policy admits", Options{Users: users, Anonymous: Loopback, Guest: "alice"}, nobody(far), alice, "a login is required"},
		{"a guest is nobody whose login is wrong", Options{Users: users, Anonymous: Any, Guest: "alice"}, login("mallory", "x", near), alice, "the user name or the password is wrong"},
		{"with users and any a wrong login is still refused", Options{Users: users, Anonymous: Any}, login("alice", "x", near), alice, "the user name or the password is wrong"},
		{"an unknown mechanism is refused", Options{Anonymous: Any}, protocols.Credentials{Mechanism: "NTLM", Remote: near}, alice, "the mechanism NTLM is not known"},
		{"a client from nowhere is not near", Options{}, protocols.Credentials{}, alice, "only clients on the node's own machine"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := New(tt.o)
			if err != nil {
				t.Fatal(err)
			}
			got, err := a.Authenticate(t.Context(), tt.c)
			checkDenied(t, err, tt.reason)
			if err == nil && got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestAdminister(t *testing.T) {
	users := []User{{Name: "root", Password: cheap(t, "r"), Admin: true}, {Name: "alice", Password: cheap(t, "a")}}
	for _, tt := range []struct {
		name   string
		o      Options
		c      protocols.Credentials
		reason string
	}{
		{"without users a near client may", Options{}, protocols.Credentials{Remote: near}, ""},
		{"without users a far client may not", Options{}, protocols.Credentials{Remote: far}, "only clients on the node's own machine"},
		{"with users an administrator may", Options{Users: users}, protocols.Credentials{User: "root", Password: "r", Remote: far}, ""},
		{"with users others may not", Options{Users: users}, protocols.Credentials{User: "alice", Password: "a", Remote: near}, "not an administrator"},
		{"with users a near client without a login may not", Options{Users: users, Anonymous: Any}, protocols.Credentials{Remote: near}, "log in as a user"},
		{"a guest may not, though its user is an administrator", Options{Users: users, Anonymous: Any, Guest: "root"}, protocols.Credentials{Remote: near}, "log in as a user"},
		{"with users a wrong password may not", Options{Users: users}, protocols.Credentials{User: "root", Password: "a", Remote: near}, "is wrong"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := New(tt.o)
			if err != nil {
				t.Fatal(err)
			}
			checkDenied(t, a.Administer(t.Context(), tt.c), tt.reason)
		})
	}
}

// checkDenied checks that err tells the client that reason, or is nil if there is none.
func checkDenied(t *testing.T, err error, reason string) {
	t.Helper()
	if reason == "" {
		if err != nil {
			t.Fatalf("got %v, want no error", err)
		}
		return
	}
	e, ok := errors.AsType[*routing.Error](err)
	if !ok || e.Code != routing.CodeUnauthorized || !strings.Contains(e.Reason, reason) {
		t.Errorf("got error %v, want unauthorized: %s", err, reason)
	}
}

func TestMechanisms(t *testing.T) {
	a, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := a.Mechanisms(t.Context(), near), []string{"PLAIN", "ANONYMOUS"}; !cmp.Equal(got, want) {
		t.Errorf("near: got %v, want %v", got, want)
	}
	if got, want := a.Mechanisms(t.Context(), far), []string{"PLAIN"}; !cmp.Equal(got, want) {
		t.Errorf("far: got %v, want %v", got, want)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    Options
		want string
	}{
		{"an unknown policy", Options{Anonymous: "all"}, `anonymous: "all" is not loopback, any or none`},
		{"a plain password", Options{Users: []User{{Name: "a", Password: "secret"}}}, `user "a": the password is not a bcrypt, argon2id or SCRAM hash: make one with "selvedge passwd"`},
		{"a user twice", Options{Users: []User{{Name: "a", Password: cheap(t, "x")}, {Name: "a", Password: cheap(t, "x")}}}, `user "a" stands there twice`},
		{"a user without a name", Options{Users: []User{{Password: cheap(t, "x")}}}, "a user has no name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(tt.o)
			if err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// counting counts how often its password is checked.
type counting struct {
	mu sync.Mutex
	n  int
}

func (c *counting) matches(password string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return password == "right"
}

func (c *counting) cost() int { return 1 }

func TestLoginsAreHashedOnce(t *testing.T) {
	a, err := New(Options{Users: []User{{Name: "alice", Password: cheap(t, "right")}}})
	if err != nil {
		t.Fatal(err)
	}
	h := &counting{}
	a.directory.Load().users["alice"] = login{hash: h, text: "x"}
	var wg sync.WaitGroup
	a.checks = newChecks(1, defaultLogins)
	for range 20 {
		wg.Go(func() {
			if _, err := a.Authenticate(context.Background(), protocols.Credentials{User: "alice", Password: "right"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if h.n != 1 {
		t.Errorf("got %d hashes of one login, want 1", h.n)
	}
	for range 3 {
		_, err := a.Authenticate(t.Context(), protocols.Credentials{User: "alice", Password: "wrong"})
		checkDenied(t, err, "is wrong")
	}
	if h.n != 4 {
		t.Errorf("got %d hashes, want 4: wrong logins are not remembered", h.n)
	}
}

func TestAuthenticateGivesUpWithItsContext(t *testing.T) {
	a, err := New(Options{Users: []User{{Name: "alice", Password: cheap(t, "right")}}})
	if err != nil {
		t.Fatal(err)
	}
	a.checks = newChecks(0, defaultLogins) // every slot is taken
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = a.Authenticate(ctx, protocols.Credentials{User: "alice", Password: "right"})
	checkDenied(t, err, "not checked in time")
}

func TestCacheForgetsTheOldest(t *testing.T) {
	c := newCache(2)
	one, two, three := c.key("u", "h", "1"), c.key("u", "h", "2"), c.key("u", "h", "3")
	c.add(one)
	c.add(two)
	c.has(one) // used again
	c.add(three)
	got := []bool{c.has(one), c.has(two), c.has(three)}
	if want := []bool{true, false, true}; !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if c.key("ab", "c", "d") == c.key("a", "bc", "d") {
		t.Error("got one key for two logins, want two")
	}
}

func TestHash(t *testing.T) {
	text, err := Hash("correct horse")
	if err != nil {
		t.Fatal(err)
	}
	h, err := parseHash(text)
	if err != nil {
		t.Fatal(err)
	}
	if !h.matches("correct horse") || h.matches("correct hors") {
		t.Errorf("%s: got wrong answers, want only the password to match", text)
	}
	if _, err := Hash(""); err == nil {
		t.Error("got a hash of nothing, want an error")
	}
}

func TestCheckHash(t *testing.T) {
	const salt, key = "c2FsdHNhbHRzYWx0", "a2V5a2V5a2V5a2V5a2V5a2V5"
	for _, tt := range []struct{ name, hash, want string }{
		{"bcrypt", "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy", ""},
		{"bcrypt of htpasswd", "$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy", ""},
		{"argon2id", "$argon2id$v=19$m=65536,t=3,p=4$" + salt + "$" + key, ""},
		{"a bcrypt that would take minutes", "$2a$25$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy", "cost 25"},
		{"an argon2id that would take all memory", "$argon2id$v=19$m=99999999,t=3,p=4$" + salt + "$" + key, "at most m=262144"},
		{"an old argon2id", "$argon2id$v=16$m=65536,t=3,p=4$" + salt + "$" + key, "version 19"},
		{"a cut argon2id", "$argon2id$v=19$m=65536,t=3,p=4$" + salt, "not a bcrypt, argon2id or SCRAM hash"},
		{"an argon2id with a short key", "$argon2id$v=19$m=65536,t=3,p=4$" + salt + "$YQ", "not a bcrypt, argon2id or SCRAM hash"},
		{"a cut bcrypt", "$2a$10$N9qo8uLOickgx2ZMRZoMye", "not a bcrypt, argon2id or SCRAM hash"},
		{"a plain password", "secret", "not a bcrypt, argon2id or SCRAM hash"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := CheckHash(tt.hash)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func FuzzCheckHash(f *testing.F) {
	f.Add("$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0$a2V5a2V5a2V5a2V5a2V5a2V5")
	f.Add("$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parseHash(text)
		if a, ok := h.(argonHash); err == nil && ok && (a.memory > maxMemory || a.time > maxTime || a.threads > maxThreads) {
			t.Errorf("%q: got a hash of unbounded cost, want an error", text)
		}
	})
}

func TestRules(t *testing.T) {
	rules := []Rule{
		{Address: "orders.private", Read: []string{"alice"}},
		{Address: "orders.*", Read: []string{"alice", "bob"}, Write: []string{Everyone}, Admin: []string{"alice"}},
		{Address: "topic://news", Read: []string{Everyone}},
		{Address: "temp-queue://closed*"},
	}
	alice, bob := routing.Principal{Name: "alice"}, routing.Principal{Name: "bob"}
	anonymous := routing.Principal{Anonymous: true}
	for _, tt := range []struct {
		name  string
		rules []Rule
		who   routing.Principal
		do    routing.Action
		on    routing.Address
		want  bool
	}{
		{"without rules everything is allowed", nil, anonymous, routing.ActionAdmin, routing.Queue("x"), true},
		{"a user of the rule may", rules, bob, routing.ActionRead, routing.Queue("orders.new"), true},
		{"a pattern without a kind matches topics too", rules, bob, routing.ActionRead, routing.Topic("orders.new"), true},
		{"everyone may write", rules, anonymous, routing.ActionWrite, routing.Queue("orders.new"), true},
		{"another action is another list", rules, bob, routing.ActionAdmin, routing.Queue("orders.new"), false},
		{"the first rule that matches decides alone", rules, bob, routing.ActionRead, routing.Queue("orders.private"), false},
		{"an exact name is no prefix", rules, alice, routing.ActionAdmin, routing.Queue("orders.private.x"), true},
		{"what no rule matches is closed", rules, alice, routing.ActionRead, routing.Queue("other"), false},
		{"a rule of a kind leaves others alone", rules, alice, routing.ActionRead, routing.Queue("news"), false},
		{"a rule of a kind matches its own", rules, anonymous, routing.ActionRead, routing.Topic("news"), true},
		{"temporary addresses are open", rules, bob, routing.ActionRead, routing.Address{Kind: routing.KindTempQueue, Name: "q"}, true},
		{"temporary addresses are closed by a rule of theirs", rules, bob, routing.ActionRead, routing.Address{Kind: routing.KindTempQueue, Name: "closed.q"}, false},
		{"a user with an empty name is not anonymous", []Rule{{Address: "*", Read: []string{""}}}, anonymous, routing.ActionRead, routing.Queue("x"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rs, err := NewRules(tt.rules)
			if err != nil {
				t.Fatal(err)
			}
			err = rs.Authorize(tt.who, tt.do, tt.on)
			if got := err == nil; got != tt.want {
				t.Errorf("got %v, want allowed = %v", err, tt.want)
			}
			if err != nil && routing.CodeOf(err) != routing.CodeUnauthorized {
				t.Errorf("got code %v, want unauthorized", routing.CodeOf(err))
			}
		})
	}
}

func TestCheckPattern(t *testing.T) {
	for _, tt := range []struct{ pattern, want string }{
		{"*", ""},
		{"queue://*", ""},
		{"a.b", ""},
		{"", "the name is empty"},
		{"a.*.b", "a * may only stand at the end"},
		{"a**", "a * may only stand at the end"},
		{"quque://a", "want queue://"},
		{"queue://", "the name is empty"},
	} {
		t.Run(fmt.Sprintf("%q", tt.pattern), func(t *testing.T) {
			err := CheckPattern(tt.pattern)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestFirstMatchWins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		patterns := rapid.SliceOfN(rapid.StringMatching(`[ab]{1,3}\*?|\*`), 1, 5).Draw(t, "patterns")
		open := rapid.SliceOfN(rapid.Bool(), len(patterns), len(patterns)).Draw(t, "open")
		name := rapid.StringMatching(`[ab]{1,4}`).Draw(t, "name")
		rules := make([]Rule, len(patterns))
		want, decided := false, false
		for i, p := range patterns {
			rules[i].Address = p
			if open[i] {
				rules[i].Read = []string{Everyone}
			}
			prefix, wild := strings.CutSuffix(p, "*")
			if !decided && (p == name || wild && strings.HasPrefix(name, prefix)) {
				want, decided = open[i], true
			}
		}
		rs, err := NewRules(rules)
		if err != nil {
			t.Fatal(err)
		}
		if got := rs.Authorize(routing.Principal{Anonymous: true}, routing.ActionRead, routing.Queue(name)) == nil; got != want {
			t.Errorf("%v on %q: got allowed = %v, want %v", patterns, name, got, want)
		}
	})
}
