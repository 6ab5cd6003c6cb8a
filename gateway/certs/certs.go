// Package certs reads certificates from files and follows the files, so that
// a renewed certificate is in force without a restart. It knows TLS; it does not
// know who listens or dials.
package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// DefaultEvery is the time between two looks at the files.
const DefaultEvery = 10 * time.Second

// maxFile is the greatest file in bytes.
const maxFile = 4 << 20

// Options say which files there are.
type Options struct {
	Cert, Key  string        // PEM; the certificate is followed by those of its issuers
	CA         string        // PEM: who issues the other side's certificates; empty: no client is asked for one
	Require    bool          // whether a client must show a certificate; without it, it may
	MinVersion uint16        // of TLS; zero means 1.2
	Every      time.Duration // between two looks at the files; zero means [DefaultEvery]
	// Expiry is told, as Unix time, when the certificate in force ends; may be nil.
	Expiry func(seconds float64)
	Log    zerolog.Logger
}

// Source holds what the files said last. It is safe for concurrent use.
type Source struct {
	o    Options
	live atomic.Pointer[state]
	turn sync.Mutex // held while the files are read
}

// state is one reading of the files.
type state struct {
	raw    [3][]byte // certificate, key, issuers
	cert   *tls.Certificate
	ca     *x509.CertPool
	server *tls.Config
}

// Open reads the files. The error names the one that is wrong.
func Open(o Options) (*Source, error) {
	if o.Every == 0 {
		o.Every = DefaultEvery
	}
	if o.Require && o.CA == "" {
		return nil, errors.New("certs: Options.CA is missing: no certificate can be verified without it")
	}
	if o.MinVersion == 0 {
		o.MinVersion = tls.VersionTLS12
	}
	s := &Source{o: o}
	if _, err := s.Reload(); err != nil {
		return nil, err
	}
	return s, nil
}

// Reload looks at the files now. It reports whether they have changed; when they
// cannot be used, what was in force stays so.
func (s *Source) Reload() (changed bool, err error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	var raw [3][]byte
	for i, name := range []string{s.o.Cert, s.o.Key, s.o.CA} {
		if name == "" {
			continue
		}
		if raw[i], err = read(name); err != nil {
			return false, err
		}
	}
	if old := s.live.Load(); old != nil && same(old.raw, raw) {
		return false, nil
	}
	next, err := s.o.parse(raw)
	if err != nil {
		return false, err
	}
	s.live.Store(next)
	if s.o.Expiry != nil {
		s.o.Expiry(float64(next.cert.Leaf.NotAfter.Unix()))
	}
	return true, nil
}

func same(a, b [3][]byte) bool {
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

func read(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s has %d bytes: that is no certificate", name, info.Size())
	}
	return os.ReadFile(name) //nolint:gosec // the operator names it
}

func (o *Options) parse(raw [3][]byte) (*state, error) {
	pair, err := tls.X509KeyPair(raw[0], raw[1])
	if err != nil {
		return nil, fmt.Errorf("%s with %s: %w", o.Cert, o.Key, err)
	}
	if pair.Leaf == nil {
		return nil, fmt.Errorf("%s: there is no certificate in it", o.Cert)
	}
	st := &state{raw: raw, cert: &pair}
	st.server = &tls.Config{MinVersion: o.MinVersion, Certificates: []tls.Certificate{pair}}
	if o.CA == "" {
		return st, nil
	}
	st.ca = x509.NewCertPool()
	if !st.ca.AppendCertsFromPEM(raw[2]) {
		return nil, fmt.Errorf("%s: there is no certificate in it", o.CA)
	}
	st.server.ClientCAs, st.server.ClientAuth = st.ca, tls.VerifyClientCertIfGiven
	if o.Require {
		st.server.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return st, nil
}

// Server returns the configuration for the next connection of a listener, to be
// asked for each time. It is the same until the files change, so that clients
// resume their sessions; a session of before such a change is not resumed.
func (s *Source) Server() *tls.Config { return s.live.Load().server }

// Mutual returns the configuration of nodes that connect with each other: both
// sides show this certificate and verify the other's. The certificate follows
// the files, its issuers are those of now.
func (s *Source) Mutual() (*tls.Config, error) {
	ca := s.live.Load().ca
	if ca == nil {
		return nil, errors.New("certs: Options.CA is missing: both sides are verified by it")
	}
	return &tls.Config{
		MinVersion:           s.o.MinVersion,
		GetCertificate:       func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.live.Load().cert, nil },
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return s.live.Load().cert, nil },
		RootCAs:              ca,
		ClientCAs:            ca,
		ClientAuth:           tls.RequireAndVerifyClientCert,
	}, nil
}

// Expiry returns when the certificate in force ends.
func (s *Source) Expiry() time.Time { return s.live.Load().cert.Leaf.NotAfter }

// Run follows the files until ctx ends.
func (s *Source) Run(ctx context.Context) {
	tick := time.NewTicker(s.o.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.Look()
		}
	}
}

// Look reads the files again, and logs what came of it.
func (s *Source) Look() {
	log := s.o.Log.With().Str("certificate", s.o.Cert).Logger()
	switch changed, err := s.Reload(); {
	case err != nil:
		log.Error().Err(err).Time("expires", s.Expiry()).Msg("certificate not renewed, the former stays in force")
	case changed:
		log.Info().Time("expires", s.Expiry()).Msg("certificate renewed")
	}
}
