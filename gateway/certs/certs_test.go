package certs

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/selvedge-mq/selvedge/gateway/certs/certstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shake runs both sides of a handshake and returns what each says of it, and
// whom the client met.
func shake(t *testing.T, server, client *tls.Config) (met string, ofServer, ofClient error) {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ended := make(chan error, 1)
	go func() {
		nc, err := ln.Accept()
		if err != nil {
			ended <- err
			return
		}
		defer nc.Close()
		_, err = tls.Server(nc, server).Read(make([]byte, 1)) // the client's certificate is judged by then
		ended <- err
	}()
	far, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	c := tls.Client(far, client)
	ofClient = c.HandshakeContext(t.Context())
	if ofClient == nil {
		met = c.ConnectionState().PeerCertificates[0].Subject.CommonName
		_, ofClient = c.Write([]byte{1})
	}
	return met, <-ended, ofClient
}

func open(t *testing.T, o Options) *Source {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRenewedFilesAreTaken(t *testing.T) {
	a, dir := certstest.New(t), t.TempDir()
	cert, key, _ := a.Write(dir, a.Issue("old"))
	var expiry float64
	s := open(t, Options{Cert: cert, Key: key, Expiry: func(at float64) { expiry = at }})
	client := &tls.Config{RootCAs: a.Pool(), ServerName: "localhost"}
	if met, _, err := shake(t, s.Server(), client); met != "old" || err != nil {
		t.Fatalf("got %q, %v, want the old certificate", met, err)
	}
	if want := float64(s.Expiry().Unix()); expiry != want {
		t.Errorf("got expiry %v, want %v", expiry, want)
	}
	if changed, err := s.Reload(); changed || err != nil {
		t.Errorf("got changed %v, %v for the same files, want nothing new", changed, err)
	}
	a.Write(dir, a.Issue("new"))
	if changed, err := s.Reload(); !changed || err != nil {
		t.Fatalf("got changed %v, %v, want the new files taken", changed, err)
	}
	if met, _, err := shake(t, s.Server(), client); met != "new" || err != nil {
		t.Errorf("got %q, %v, want the new certificate", met, err)
	}
}

// TestSessionsAreResumed: a client that comes back skips the costly part, until the
// files change: who an authority of before has admitted is asked anew.
func TestSessionsAreResumed(t *testing.T) {
	a, dir := certstest.New(t), t.TempDir()
	cert, key, ca := a.Write(dir, a.Issue("node"))
	s := open(t, Options{Cert: cert, Key: key, CA: ca, Require: true})
	resumed := make(chan bool, 1)
	client := &tls.Config{
		RootCAs: a.Pool(), ServerName: "localhost", Certificates: []tls.Certificate{a.Issue("alice")},
		ClientSessionCache: tls.NewLRUClientSessionCache(1), MaxVersion: tls.VersionTLS12, // by then the client has its ticket
		VerifyConnection: func(st tls.ConnectionState) error {
			resumed <- st.DidResume
			return nil
		},
	}
	for i, want := range []bool{false, true, false, true} {
		if i == 2 {
			a.Write(dir, a.Issue("node"))
			if _, err := s.Reload(); err != nil {
				t.Fatal(err)
			}
		}
		if _, ofServer, ofClient := shake(t, s.Server(), client); ofServer != nil || ofClient != nil {
			t.Fatalf("got %v, %v, want a connection", ofServer, ofClient)
		}
		if got := <-resumed; got != want {
			t.Errorf("connection %d: got resumed = %v, want %v", i+1, got, want)
		}
	}
}

// TestRunFollowsTheFiles: a file that is half written keeps the former
// certificate in force and is said once a look; the whole one is taken.
func TestRunFollowsTheFiles(t *testing.T) {
	a, dir := certstest.New(t), t.TempDir()
	cert, key, _ := a.Write(dir, a.Issue("old"))
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s := open(t, Options{Cert: cert, Key: key, Log: zerolog.New(&log)})
		ctx, cancel := context.WithTimeout(t.Context(), 2*DefaultEvery+1)
		defer cancel()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.Run(ctx)
		}()
		if err := os.WriteFile(cert, []byte("-----BEGIN"), 0o600); err != nil {
			t.Fatal(err)
		}
		before := s.live.Load()
		half, stop := context.WithTimeout(t.Context(), DefaultEvery+1)
		defer stop()
		<-half.Done()
		synctest.Wait()
		if s.live.Load() != before || strings.Count(log.String(), "certificate not renewed") != 1 {
			t.Errorf("got log %s, want the former certificate and one line", &log)
		}
		a.Write(dir, a.Issue("new"))
		<-ended
		if got := s.live.Load().cert.Leaf.Subject.CommonName; got != "new" || !strings.Contains(log.String(), "certificate renewed") {
			t.Errorf("got %s, log %s, want the new certificate", got, &log)
		}
	})
}

func TestClientCertificates(t *testing.T) {
	a, other := certstest.New(t), certstest.New(t)
	cert, key, ca := a.Write(t.TempDir(), a.Issue("node"))
	for _, tt := range []struct {
		name     string
		require  bool
		show     []tls.Certificate
		accepted bool
	}{
		{"optional: without one", false, nil, true},
		{"optional: a good one", false, []tls.Certificate{a.Issue("alice")}, true},
		{"optional: one of a stranger", false, []tls.Certificate{other.Issue("alice")}, false},
		{"required: without one", true, nil, false},
		{"required: a good one", true, []tls.Certificate{a.Issue("alice")}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, Options{Cert: cert, Key: key, CA: ca, Require: tt.require})
			client := &tls.Config{RootCAs: a.Pool(), ServerName: "localhost"}
			if tt.show != nil { // shown whatever the server asks for
				client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tt.show[0], nil }
			}
			if _, err, _ := shake(t, s.Server(), client); (err == nil) != tt.accepted {
				t.Errorf("got %v, want accepted = %v", err, tt.accepted)
			}
		})
	}
}

func TestMinVersion(t *testing.T) {
	a := certstest.New(t)
	cert, key, _ := a.Write(t.TempDir(), a.Issue("node"))
	s := open(t, Options{Cert: cert, Key: key, MinVersion: tls.VersionTLS13})
	client := &tls.Config{RootCAs: a.Pool(), ServerName: "localhost", MaxVersion: tls.VersionTLS12}
	if _, err, _ := shake(t, s.Server(), client); err == nil {
		t.Error("got a connection by TLS 1.2, want it refused")
	}
}

func TestMutual(t *testing.T) {
	a, other := certstest.New(t), certstest.New(t)
	cert, key, ca := a.Write(t.TempDir(), a.Issue("a"))
	s := open(t, Options{Cert: cert, Key: key, CA: ca})
	both, err := s.Mutual()
	if err != nil {
		t.Fatal(err)
	}
	client := both.Clone()
	client.ServerName = "localhost"
	if met, ofServer, ofClient := shake(t, both, client); met != "a" || ofServer != nil || ofClient != nil {
		t.Errorf("got %q, %v, %v, want nodes of one authority to meet", met, ofServer, ofClient)
	}
	stranger := other.Issue("b")
	client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &stranger, nil }
	if _, ofServer, _ := shake(t, both, client); ofServer == nil {
		t.Error("got a node of another authority admitted, want it refused")
	}
	alone := open(t, Options{Cert: cert, Key: key})
	if _, err := alone.Mutual(); err == nil {
		t.Error("got a configuration without an authority, want an error")
	}
}

func TestMistakesNameTheFile(t *testing.T) {
	a, dir := certstest.New(t), t.TempDir()
	cert, key, ca := a.Write(dir, a.Issue("node"))
	foreign := filepath.Join(dir, "foreign")
	if err := os.Mkdir(foreign, 0o700); err != nil {
		t.Fatal(err)
	}
	_, wrongKey, _ := a.Write(foreign, a.Issue("other"))
	for _, tt := range []struct {
		name string
		o    Options
		want string
	}{
		{"no file", Options{Cert: dir + "/none.pem", Key: key}, "none.pem"},
		{"another's key", Options{Cert: cert, Key: wrongKey}, cert + " with " + wrongKey},
		{"no authority", Options{Cert: cert, Key: key, CA: key}, key + ": there is no certificate in it"},
		{"certificates required of nobody's authority", Options{Cert: cert, Key: key, Require: true}, "Options.CA is missing"},
		{"an authority for a certificate", Options{Cert: ca, Key: key}, ca},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Open(tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s in it", err, tt.want)
			}
		})
	}
}
