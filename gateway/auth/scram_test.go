package auth

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xdg-go/scram"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/routing"
)

func newSCRAM(t *testing.T, password string) string {
	t.Helper()
	text, err := HashSCRAM(password)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// talk conducts a login as a client does.
func talk(t *testing.T, a *Authenticator, user, password, authzID string) (*routing.Principal, error) {
	t.Helper()
	c, err := scram.SHA256.NewClient(user, password, authzID)
	if err != nil {
		t.Fatal(err)
	}
	conv := c.NewConversation()
	x, err := a.Exchange(t.Context(), protocols.Credentials{Mechanism: mechanismSCRAM256})
	if err != nil {
		return nil, err
	}
	challenge := ""
	for range 3 {
		response, err := conv.Step(challenge)
		if err != nil {
			t.Fatal(err)
		}
		answer, who, err := x.Step(t.Context(), []byte(response))
		if err != nil {
			return nil, err
		}
		if who != nil {
			if _, err := conv.Step(string(answer)); err != nil || !conv.Valid() {
				t.Errorf("the node's proof: got %v, valid %v, want it right", err, conv.Valid())
			}
			return who, nil
		}
		challenge = string(answer)
	}
	t.Fatal("got no end of the exchange")
	return nil, nil
}

func TestSCRAM(t *testing.T) {
	a, err := New(Options{Users: []User{{Name: "alice", Password: newSCRAM(t, "sécret")}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, user, password, authzID string
		admitted                      bool
	}{
		{"the right password", "alice", "sécret", "", true},
		{"for herself", "alice", "sécret", "alice", true},
		{"for somebody else", "alice", "sécret", "bob", false},
		{"a wrong password", "alice", "secret", "", false},
		{"a name that is not there", "bob", "sécret", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			who, err := talk(t, a, tt.user, tt.password, tt.authzID)
			if tt.admitted != (err == nil) || tt.admitted && who.Name != tt.user {
				t.Errorf("got %v, %v, want admitted = %v", who, err, tt.admitted)
			}
			if err != nil && routing.CodeOf(err) != routing.CodeUnauthorized {
				t.Errorf("got %v, want it unauthorized", err)
			}
		})
	}
	if _, err := a.Authenticate(t.Context(), protocols.Credentials{Mechanism: "PLAIN", User: "alice", Password: "sécret"}); err != nil {
		t.Errorf("the same hash for a password that is shown: got %v, want it right", err)
	}
	if _, err := a.Exchange(t.Context(), protocols.Credentials{Mechanism: "SCRAM-SHA-1"}); err == nil {
		t.Error("got an exchange by SCRAM-SHA-1, want an error")
	}
}

// TestSCRAMKeepsItsSalt: who asks twice for a name that is not there must not
// learn it from a salt that changes.
func TestSCRAMKeepsItsSalt(t *testing.T) {
	a, err := New(Options{Users: []User{{Name: "alice", Password: newSCRAM(t, "x")}}})
	if err != nil {
		t.Fatal(err)
	}
	var salts []string
	for range 2 {
		x, err := a.Exchange(t.Context(), protocols.Credentials{Mechanism: mechanismSCRAM256})
		if err != nil {
			t.Fatal(err)
		}
		answer, _, err := x.Step(t.Context(), []byte("n,,n=nobody,r=abc"))
		if err != nil {
			t.Fatal(err)
		}
		salts = append(salts, string(answer[strings.Index(string(answer), ",s="):]))
	}
	if salts[0] != salts[1] {
		t.Errorf("got %s and %s, want one salt", salts[0], salts[1])
	}
}

func TestSCRAMIsOfferedWhenAllCanUseIt(t *testing.T) {
	s256 := newSCRAM(t, "x")
	s512, err := derive(mechanismSCRAM512, "x", scram.KeyFactors{Salt: "12345678", Iters: minRounds})
	if err != nil {
		t.Fatal(err)
	}
	all512 := scramHash{mechanismSCRAM512, s512}.String()
	for _, tt := range []struct {
		name  string
		users []User
		want  []string
	}{
		{"all have one", []User{{Name: "a", Password: s256}, {Name: "b", Password: s256}}, []string{"SCRAM-SHA-256", "PLAIN"}},
		{"the longer one", []User{{Name: "a", Password: all512}}, []string{"SCRAM-SHA-512", "PLAIN"}},
		{"who has no password does not matter", []User{{Name: "a", Password: s256}, {Name: "b", Certificate: "b"}}, []string{"SCRAM-SHA-256", "PLAIN"}},
		{"one of another kind", []User{{Name: "a", Password: s256}, {Name: "b", Password: all512}}, []string{"PLAIN"}},
		{"certificates alone", []User{{Name: "b", Certificate: "b"}}, []string{"PLAIN"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := New(Options{Users: tt.users})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, a.Mechanisms(t.Context(), far)); d != "" {
				t.Errorf("got (+), want (-):\n%s", d)
			}
		})
	}
}

func TestSCRAMMistakes(t *testing.T) {
	good := newSCRAM(t, "x")
	for name, text := range map[string]string{
		"another mechanism": strings.Replace(good, "256", "1", 1),
		"too few rounds":    strings.Replace(good, "100000", "100", 1),
		"no rounds":         strings.Replace(good, "100000", "x", 1),
		"a part is missing": good[:strings.LastIndex(good, "$")],
		"no base64":         strings.Replace(good, ":", ":!", 1),
		"keys too short":    good[:len(good)-8],
	} {
		if err := CheckHash(text); err == nil {
			t.Errorf("%s: got no error for %s, want one", name, text)
		}
	}
	for _, password := range []string{"", strings.Repeat("x", maxPassword+1)} {
		if _, err := HashSCRAM(password); err == nil {
			t.Errorf("got a hash of %d bytes, want an error", len(password))
		}
	}
}

func TestCertificates(t *testing.T) {
	a, err := New(Options{Users: []User{
		{Name: "robot", Certificate: "dns:robot.example"}, {Name: "common", Certificate: "cn"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		names []string // in the certificate: common, then alternative; nil: there is none
		c     protocols.Credentials
		want  string
	}{
		{"EXTERNAL", []string{"cn", "robot.example"}, protocols.Credentials{Mechanism: "EXTERNAL"}, "robot"},
		{"without a login", []string{"cn", "robot.example"}, protocols.Credentials{Mechanism: "ANONYMOUS"}, "robot"},
		{"the common name", []string{"cn", "other.example"}, protocols.Credentials{Mechanism: "EXTERNAL"}, "common"},
		{"as herself", []string{"cn", "robot.example"}, protocols.Credentials{Mechanism: "EXTERNAL", User: "robot"}, "robot"},
		{"as another", []string{"cn", "robot.example"}, protocols.Credentials{Mechanism: "EXTERNAL", User: "common"}, ""},
		{"a common name that looks like an alternative one", []string{"dns:robot.example"}, protocols.Credentials{Mechanism: "EXTERNAL"}, ""},
		{"no certificate", nil, protocols.Credentials{Mechanism: "EXTERNAL"}, ""},
		{"a password that nobody has", []string{"cn"}, protocols.Credentials{User: "common", Password: ""}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := a.Authenticate(withNames(t, tt.names...), tt.c)
			if p.Name != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("got %q, %v, want %q", p.Name, err, tt.want)
			}
		})
	}
	if d := cmp.Diff([]string{"EXTERNAL", "PLAIN", "ANONYMOUS"}, a.Mechanisms(withNames(t, "cn", "robot.example"), far)); d != "" {
		t.Errorf("mechanisms: got (+), want (-):\n%s", d)
	}
}

// withNames is the context of a client with a certificate of these names, the
// common one first; without any it has none.
func withNames(t *testing.T, names ...string) context.Context {
	t.Helper()
	if len(names) == 0 {
		return t.Context()
	}
	return WithCertificate(t.Context(), &x509.Certificate{Subject: pkix.Name{CommonName: names[0]}, DNSNames: names[1:]})
}
