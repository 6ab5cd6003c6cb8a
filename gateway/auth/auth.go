// Package auth admits clients and says what they may do: users with password
// hashes, a policy for clients without a login, and rules on addresses. It knows
// no protocol, no file and no socket.
package auth

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/routing"
)

const (
	maxPassword  = 1024 // bytes; longer ones are refused unread
	cachedLogins = 1024

	// defaultLogins is that of Options.Logins: with a hash of a tenth of a second, and
	// one at a time, others wait for three seconds at most because of one place.
	defaultLogins = 32
)

// Mechanisms of SASL that an [Authenticator] understands.
const (
	mechanismPlain     = "PLAIN"
	mechanismAnonymous = "ANONYMOUS"
	mechanismExternal  = "EXTERNAL"
)

// Policy says which clients are admitted without a login.
type Policy string

// The policies. The empty one means: [Loopback] while no user is configured,
// [None] otherwise.
const (
	Loopback Policy = "loopback" // clients on this machine
	Any      Policy = "any"      // every client
	None     Policy = "none"     // no client
)

// User is someone who can log in: by a password, by a certificate, or by both.
type User struct {
	Name        string
	Password    string // a bcrypt or argon2id hash, see [Hash]; empty: by certificate alone
	Certificate string // the name in it, see [CheckCertificate]; empty: by password alone
	Admin       bool   // may use the admin API
}

// Check says what is wrong with the user's login, or nil.
func (u User) Check() error {
	if u.Password != "" {
		if err := CheckHash(u.Password); err != nil {
			return err
		}
	}
	if u.Certificate != "" {
		return CheckCertificate(u.Certificate)
	}
	return nil
}

// Options are what an [Authenticator] is built from.
type Options struct {
	Users     []User
	Anonymous Policy // empty means the default, see [Policy]
	// Guest is the user who a client is that the policy admits without a login;
	// empty: it is nobody.
	Guest string
	// Logins is how many logins of one address are checked at a time, those that
	// wait for their turn among them; zero means 32. Replace does not change it.
	Logins int
}

// Authenticator admits clients by their login or by where they come from. It is
// safe for concurrent use and implements [protocols.Authenticator].
//
// While no user is configured, a client that the policy admits is admitted
// whatever login it sends. As soon as users are configured a login that is sent
// must be right, also where the policy admits clients without one. A client whose
// certificate names a user needs no login: it is that user.
type Authenticator struct {
	directory atomic.Pointer[directory]
	checks    *checks
	cache     *cache
}

var (
	_ protocols.Authenticator = (*Authenticator)(nil)
	_ protocols.Exchanger     = (*Authenticator)(nil)
)

const wrongLogin = "the user name or the password is wrong"

// New returns an Authenticator. The error names the user that is wrong.
func New(o Options) (*Authenticator, error) {
	a := &Authenticator{checks: newChecks(max(1, runtime.GOMAXPROCS(0)/2), cmp.Or(o.Logins, defaultLogins)), cache: newCache(cachedLogins)}
	if err := a.Replace(o); err != nil {
		return nil, err
	}
	return a, nil
}

// Replace puts other users and another policy in force, or leaves everything as
// it is and says what is wrong. Who is logged in stays so.
func (a *Authenticator) Replace(o Options) error {
	d, err := newDirectory(o)
	if err != nil {
		return err
	}
	if old := a.directory.Swap(d); old != nil {
		close(old.replaced)
	}
	return nil
}

// Replaced returns a channel that is closed when the users and the policy of this
// moment are in force no more.
func (a *Authenticator) Replaced() <-chan struct{} { return a.directory.Load().replaced }

// Policy returns the policy in force.
func (a *Authenticator) Policy() Policy { return a.directory.Load().policy }

// AdmitsNear reports whether a client from there needs no login because it is on
// this machine.
func (a *Authenticator) AdmitsNear(remote net.Addr) bool {
	return a.Policy() == Loopback && onLoopback(remote)
}

// HasUsers reports whether anyone can log in by name.
func (a *Authenticator) HasUsers() bool { return len(a.directory.Load().users) > 0 }

// Knows reports whether there is a user of that name.
func (a *Authenticator) Knows(user string) bool {
	_, known := a.directory.Load().users[user]
	return known
}

// Mechanisms lists the SASL mechanisms worth offering to that peer. PLAIN always
// stands in it, so that a client that is not admitted learns why.
func (a *Authenticator) Mechanisms(ctx context.Context, remote net.Addr) []string {
	d := a.directory.Load()
	certified := d.certified(ctx) != ""
	var list []string
	if certified {
		list = append(list, mechanismExternal)
	}
	list = append(append(list, d.scram...), mechanismPlain)
	if certified || d.admits(remote) {
		list = append(list, mechanismAnonymous)
	}
	return list
}

// Authenticate returns the principal of a client, or an *[routing.Error] with
// CodeUnauthorized; with CodeFull where too many logins from the client's address
// are being checked. It may wait for others that compute password hashes.
func (a *Authenticator) Authenticate(ctx context.Context, c protocols.Credentials) (routing.Principal, error) {
	d := a.directory.Load()
	silent := c.Mechanism == mechanismAnonymous || c.User == "" && c.Password == ""
	if user := d.certified(ctx); user != "" && (silent || c.Mechanism == mechanismExternal) {
		if c.Mechanism == mechanismExternal && c.User != "" && c.User != user {
			return routing.Principal{}, denied("the certificate is that of another user")
		}
		return routing.Principal{Name: user}, nil
	}
	switch {
	case c.Mechanism == mechanismExternal:
		return routing.Principal{}, denied("the client showed no certificate that names a user")
	case c.Mechanism != "" && c.Mechanism != mechanismPlain && c.Mechanism != mechanismAnonymous:
		return routing.Principal{}, denied("the mechanism " + c.Mechanism + " is not known")
	case len(d.users) == 0 || silent:
		if d.admits(c.Remote) {
			return routing.Principal{Name: d.guest, Anonymous: d.guest == ""}, nil
		}
		return routing.Principal{}, denied(d.refusal())
	}
	if _, err := a.verify(ctx, d, c); err != nil {
		return routing.Principal{}, err
	}
	return routing.Principal{Name: c.User}, nil
}

// Administer says whether a client may use the admin API: while no user is
// configured the policy decides by the address, afterwards only a user with
// Admin may. The errors are those of Authenticate.
func (a *Authenticator) Administer(ctx context.Context, c protocols.Credentials) error {
	d := a.directory.Load()
	if len(d.users) == 0 {
		if d.admits(c.Remote) {
			return nil
		}
		return denied(d.refusal())
	}
	l := d.users[d.certified(ctx)]
	if c.User != "" {
		var err error
		if l, err = a.verify(ctx, d, c); err != nil {
			return err
		}
	} else if !l.admin {
		return denied("log in as a user with admin: true")
	}
	if !l.admin {
		return denied("the user is not an administrator: set admin: true in the configuration")
	}
	return nil
}

// verify returns the login of the user whose name and password these are.
func (a *Authenticator) verify(ctx context.Context, d *directory, c protocols.Credentials) (login, error) {
	if len(c.Password) > maxPassword {
		return login{}, denied(wrongLogin)
	}
	l, known := d.users[c.User]
	known = known && l.hash != nil
	if !known {
		l = d.decoy
	}
	if l.hash == nil { // nobody has a password
		return login{}, denied(wrongLogin)
	}
	key := a.cache.key(c.User, l.text, c.Password)
	if a.cache.has(key) {
		return l, nil
	}
	right, err := a.checks.judge(ctx, c.Remote, key, func() bool {
		if a.cache.has(key) { // an equal login was checked in between
			return true
		}
		right := l.hash.matches(c.Password) && known
		if right {
			a.cache.add(key)
		}
		return right
	})
	switch {
	case err != nil:
		return login{}, err
	case !right:
		return login{}, denied(wrongLogin)
	}
	return l, nil
}

func onLoopback(remote net.Addr) bool {
	if remote == nil {
		return false
	}
	at, err := netip.ParseAddrPort(remote.String())
	return err == nil && at.Addr().Unmap().IsLoopback()
}

func denied(reason string) error {
	return &routing.Error{Code: routing.CodeUnauthorized, Op: "log in", Reason: reason}
}
