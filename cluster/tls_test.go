package cluster_test

import (
	"bufio"
	"crypto/tls"
	"strings"
	"testing"

	"github.com/selvedge-mq/selvedge/cluster"
	"github.com/selvedge-mq/selvedge/cluster/clustertest"
	"github.com/selvedge-mq/selvedge/gateway/certs"
	"github.com/selvedge-mq/selvedge/gateway/certs/certstest"
)

// mutual is the configuration of a node with a certificate of the authority.
func mutual(t *testing.T, a *certstest.Authority) *tls.Config {
	t.Helper()
	cert, key, ca := a.Write(t.TempDir(), a.Issue("node"))
	s, err := certs.Open(certs.Options{Cert: cert, Key: key, CA: ca})
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Mutual()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestNode_RoutesByTLS: nodes with certificates of one authority form a cluster,
// and nobody else gets a word out of them.
func TestNode_RoutesByTLS(t *testing.T) {
	t.Parallel()
	a := certstest.New(t)
	c := clustertest.Start(t, 3, func(_ int, o *cluster.Options) {
		o.Shards, o.TLS = 1, mutual(t, a)
	})
	c.WaitHealthy()
	l := waitTaking(t, c, 0)
	mustAppend(t, c.Node(l).Log(0), 0, "a record")
	for name, show := range map[string][]tls.Certificate{
		"a node's":          {a.Issue("node")},
		"none":              nil,
		"one of a stranger": {certstest.New(t).Issue("node")},
	} {
		greeting, err := greet(t, c.Options(0).Listen, &tls.Config{RootCAs: a.Pool(), GetClientCertificate: shown(show)})
		if admitted := strings.HasPrefix(greeting, "INFO "); admitted != (name == "a node's") {
			t.Errorf("the certificate is %s: got %.20q, %v", name, greeting, err)
		}
	}
}

// shown shows a certificate whatever is asked for.
func shown(certs []tls.Certificate) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if len(certs) == 0 {
			return &tls.Certificate{}, nil
		}
		return &certs[0], nil
	}
}

// greet connects to a node and returns the first line that it says.
func greet(t *testing.T, addr string, c *tls.Config) (string, error) {
	t.Helper()
	nc, err := (&tls.Dialer{Config: c}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		return "", err
	}
	defer nc.Close()
	return bufio.NewReader(nc).ReadString('\n')
}
