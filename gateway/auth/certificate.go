package auth

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
)

// Prefixes of the names that a certificate may have beside its common name.
const (
	prefixDNS   = "dns:"
	prefixEmail = "email:"
	prefixURI   = "uri:"
)

type certificateKey struct{}

// WithCertificate returns a context for a connection whose client has shown that
// certificate and the key to it; who issued it was verified.
func WithCertificate(ctx context.Context, c *x509.Certificate) context.Context {
	return context.WithValue(ctx, certificateKey{}, c)
}

// certificateNames returns the names by which a user may be found, the most
// specific first.
func certificateNames(ctx context.Context) []string {
	c, ok := ctx.Value(certificateKey{}).(*x509.Certificate)
	if !ok || c == nil {
		return nil
	}
	var names []string
	for _, u := range c.URIs {
		names = append(names, prefixURI+u.String())
	}
	for _, e := range c.EmailAddresses {
		names = append(names, prefixEmail+e)
	}
	for _, n := range c.DNSNames {
		names = append(names, prefixDNS+n)
	}
	if cn := c.Subject.CommonName; cn != "" && !alternative(cn) {
		names = append(names, cn)
	}
	return names
}

// alternative reports whether a name is spelled as one of the alternative names,
// which a common name must not pass for.
func alternative(name string) bool {
	return slices.ContainsFunc([]string{prefixDNS, prefixEmail, prefixURI}, func(p string) bool { return strings.HasPrefix(name, p) })
}

// CheckCertificate says why text cannot stand as the name in a user's
// certificate, or nil: it is a common name, or an alternative name with dns:,
// email: or uri: in front.
func CheckCertificate(text string) error {
	if strings.TrimSpace(text) != text || text == "" || slices.Contains([]string{prefixDNS, prefixEmail, prefixURI}, text) {
		return fmt.Errorf("certificate: %q is not a name: write its common name, or dns:, email: or uri: and an alternative name", text)
	}
	return nil
}
