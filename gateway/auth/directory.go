package auth

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// directory is who there is: it never changes, it is replaced.
type directory struct {
	policy       Policy
	guest        string // who a client without a login is; empty is nobody
	users        map[string]login
	certificates map[string]string // the user by the name in the certificate
	scram        []string          // mechanisms of SCRAM that are offered, the best first
	decoy        login             // checked for names that do not exist, so that they take as long
	replaced     chan struct{}     // closed when another directory is in force
}

type login struct {
	hash  hash // nil: the user has no password
	text  string
	admin bool
}

func newDirectory(o Options) (*directory, error) {
	d := &directory{
		policy: o.Anonymous, guest: o.Guest, users: make(map[string]login, len(o.Users)), certificates: make(map[string]string), replaced: make(chan struct{}),
	}
	switch d.policy {
	case Loopback, Any, None:
	case "":
		d.policy = Loopback
		if len(o.Users) > 0 {
			d.policy = None
		}
	default:
		return nil, fmt.Errorf("anonymous: %q is not loopback, any or none", o.Anonymous)
	}
	for _, u := range o.Users {
		if err := d.add(u); err != nil {
			return nil, err
		}
	}
	if _, known := d.users[d.guest]; d.guest != "" && !known {
		return nil, fmt.Errorf("anonymous-user: there is no user %q", d.guest)
	}
	d.scram = d.scramOffered()
	return d, nil
}

func (d *directory) add(u User) error {
	if u.Name == "" {
		return errors.New("a user has no name")
	}
	if _, twice := d.users[u.Name]; twice {
		return fmt.Errorf("user %q stands there twice", u.Name)
	}
	l := login{text: u.Password, admin: u.Admin}
	if u.Password != "" || u.Certificate == "" {
		h, err := parseHash(u.Password)
		if err != nil {
			return fmt.Errorf("user %q: %w", u.Name, err)
		}
		l.hash = h
		if d.decoy.hash == nil || h.cost() > d.decoy.hash.cost() {
			d.decoy = login{hash: h, text: u.Password}
		}
	}
	if u.Certificate != "" {
		if err := CheckCertificate(u.Certificate); err != nil {
			return fmt.Errorf("user %q: %w", u.Name, err)
		}
		if other, twice := d.certificates[u.Certificate]; twice {
			return fmt.Errorf("user %q: the certificate %q is that of %q already", u.Name, u.Certificate, other)
		}
		d.certificates[u.Certificate] = u.Name
	}
	d.users[u.Name] = l
	return nil
}

// certified returns the user whom the connection's certificate names, or "".
func (d *directory) certified(ctx context.Context) string {
	for _, name := range certificateNames(ctx) {
		if user, ok := d.certificates[name]; ok {
			return user
		}
	}
	return ""
}

func (d *directory) admits(remote net.Addr) bool {
	return d.policy == Any || d.policy == Loopback && onLoopback(remote)
}

func (d *directory) refusal() string {
	switch {
	case len(d.users) > 0:
		return "a login is required"
	case d.policy == Loopback:
		return "only clients on the node's own machine are admitted while no user is configured"
	default:
		return "no client is admitted: no user is configured, and clients without a login are not admitted"
	}
}
