package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/routing"
)

// Mechanisms by which a client proves that it knows its password without
// showing it. (RFC 5802, RFC 7677)
const (
	mechanismSCRAM256 = "SCRAM-SHA-256"
	mechanismSCRAM512 = "SCRAM-SHA-512"
)

// Rounds of PBKDF2.
const (
	newRounds = 100_000
	minRounds = 4096
	maxRounds = 10_000_000
)

var errNotSCRAM = errors.New(`the password is not a SCRAM hash: make one with "selvedge passwd --scram"`)

// generators are the hash functions of the mechanisms, the better first in
// scramMechanisms.
var (
	scramMechanisms = []string{mechanismSCRAM512, mechanismSCRAM256}
	generators      = map[string]scram.HashGeneratorFcn{mechanismSCRAM256: scram.SHA256, mechanismSCRAM512: scram.SHA512}
)

// scramHash is what a server needs to conduct SCRAM. It is good for a password
// that is shown, too.
type scramHash struct {
	mechanism string
	stored    scram.StoredCredentials
}

// HashSCRAM returns the hash of a password for SCRAM-SHA-256, as it stands in the
// configuration.
func HashSCRAM(password string) (string, error) {
	if password == "" || len(password) > maxPassword {
		return "", fmt.Errorf("the password has %d bytes, 1 to %d are allowed", len(password), maxPassword)
	}
	salt := make([]byte, newSalt)
	rand.Read(salt) // never fails: the process ends if there is no randomness
	s, err := derive(mechanismSCRAM256, password, scram.KeyFactors{Salt: string(salt), Iters: newRounds})
	if err != nil {
		return "", fmt.Errorf("the password has characters that SCRAM does not allow: %w", err)
	}
	return scramHash{mechanismSCRAM256, s}.String(), nil
}

func derive(mechanism, password string, f scram.KeyFactors) (scram.StoredCredentials, error) {
	c, err := generators[mechanism].NewClient("", password, "") // the name is not part of the keys
	if err != nil {
		return scram.StoredCredentials{}, err
	}
	return c.GetStoredCredentialsWithError(f)
}

// String returns the spelling that parseSCRAM reads, which is PostgreSQL's.
func (h scramHash) String() string {
	b64 := base64.StdEncoding.EncodeToString
	s := h.stored
	return fmt.Sprintf("%s$%d:%s$%s:%s", h.mechanism, s.Iters, b64([]byte(s.Salt)), b64(s.StoredKey), b64(s.ServerKey))
}

func parseSCRAM(text string) (hash, error) {
	parts := strings.Split(text, "$")
	if len(parts) != 3 || generators[parts[0]] == nil {
		return nil, errNotSCRAM
	}
	rounds, salt, ok := strings.Cut(parts[1], ":")
	stored, server, ok2 := strings.Cut(parts[2], ":")
	n, err := strconv.Atoi(rounds)
	if !ok || !ok2 || err != nil {
		return nil, errNotSCRAM
	}
	if n < minRounds || n > maxRounds {
		return nil, fmt.Errorf("the SCRAM hash has %d rounds, %d to %d are allowed", n, minRounds, maxRounds)
	}
	size := generators[parts[0]]().Size()
	h := scramHash{mechanism: parts[0], stored: scram.StoredCredentials{KeyFactors: scram.KeyFactors{Iters: n}}}
	var raw [3][]byte
	for i, word := range []string{salt, stored, server} {
		if raw[i], err = base64.StdEncoding.DecodeString(word); err != nil {
			return nil, errNotSCRAM
		}
	}
	if len(raw[0]) < 8 || len(raw[0]) > 64 || len(raw[1]) != size || len(raw[2]) != size {
		return nil, errNotSCRAM
	}
	h.stored.Salt, h.stored.StoredKey, h.stored.ServerKey = string(raw[0]), raw[1], raw[2]
	return h, nil
}

func (h scramHash) matches(password string) bool {
	s, err := derive(h.mechanism, password, h.stored.KeyFactors)
	return err == nil && hmac.Equal(s.StoredKey, h.stored.StoredKey)
}

func (h scramHash) cost() int { return h.stored.Iters / 2000 }

// Exchange begins a login by SCRAM.
func (a *Authenticator) Exchange(_ context.Context, c protocols.Credentials) (protocols.Exchange, error) {
	generate := generators[c.Mechanism]
	if generate == nil {
		return nil, denied("the mechanism " + c.Mechanism + " is not known")
	}
	d := a.directory.Load()
	server, err := generate.NewServer(func(user string) (scram.StoredCredentials, error) {
		if h, ok := d.users[user].hash.(scramHash); ok && h.mechanism == c.Mechanism {
			return h.stored, nil
		}
		return a.decoySCRAM(d, c.Mechanism, user), nil
	})
	if err != nil {
		return nil, err
	}
	return &scramExchange{conversation: server.NewConversation()}, nil
}

// decoySCRAM makes keys that nothing fits, so that a name that does not exist is
// not told from a wrong password. The salt of a name is always the same.
func (a *Authenticator) decoySCRAM(d *directory, mechanism, user string) scram.StoredCredentials {
	mac := hmac.New(sha256.New, a.cache.secret[:])
	mac.Write([]byte(user))
	size := generators[mechanism]().Size()
	s := scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(mac.Sum(nil)[:newSalt]), Iters: newRounds},
		StoredKey:  make([]byte, size), ServerKey: make([]byte, size),
	}
	if h, ok := d.decoy.hash.(scramHash); ok {
		s.Iters = h.stored.Iters
	}
	rand.Read(s.StoredKey)
	rand.Read(s.ServerKey)
	return s
}

// scramExchange is one login.
type scramExchange struct {
	conversation *scram.ServerConversation
}

// Step takes the client's response.
func (x *scramExchange) Step(_ context.Context, response []byte) ([]byte, *routing.Principal, error) {
	answer, err := x.conversation.Step(string(response))
	if err != nil {
		return []byte(answer), nil, denied(wrongLogin)
	}
	if !x.conversation.Done() {
		return []byte(answer), nil, nil
	}
	user := x.conversation.Username()
	if other := x.conversation.AuthzID(); !x.conversation.Valid() || other != "" && other != user {
		return nil, nil, denied(wrongLogin)
	}
	return []byte(answer), &routing.Principal{Name: user}, nil
}

// scramOffered lists the mechanisms by which every user with a password can log
// in: a client takes the first that it knows, so one that fails for some users
// must not be offered.
func (d *directory) scramOffered() []string {
	var offered []string
	for _, m := range scramMechanisms {
		all, any := true, false
		for _, l := range d.users {
			h, ok := l.hash.(scramHash)
			all = all && (l.hash == nil || ok && h.mechanism == m)
			any = any || ok
		}
		if all && any {
			offered = append(offered, m)
		}
	}
	return offered
}
