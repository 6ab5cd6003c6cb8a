package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

// The C library under the older Azure SDKs, which speaks TLS alone and asks both
// ends to settle second.
func TestAMQP_UAMQPOverTLS(t *testing.T) {
	beside(t)
	if err := exec.CommandContext(t.Context(), python, "-c", "import uamqp").Run(); err != nil {
		t.Skip("python3-uamqp is missing: apt-get install python3-uamqp")
	}
	cert, port := amqpByTLS(t)
	out, err := exec.CommandContext(shortly(t), python, "testdata/uamqpclient.py", port, cert).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// Proton for Python by TLS, which looks at the certificate and the name in it.
func TestAMQP_ProtonOverTLS(t *testing.T) {
	needProton(t)
	cert, port := amqpByTLS(t)
	out, err := exec.CommandContext(shortly(t), python, "testdata/protonclient.py", "amqps://localhost:"+port, "tls", cert).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// amqpByTLS starts a node that speaks AMQP by TLS, and returns its certificate and port.
func amqpByTLS(t *testing.T) (cert, port string) {
	t.Helper()
	cert, key := localCertificate(t)
	addr := harness.Addr(t)
	harness.Start(t, harness.Options{Args: []string{"--amqp-tls", addr, "--tls-cert", cert, "--tls-key", key}})
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return cert, port
}

// localCertificate writes a certificate of localhost that signs itself, and its key.
func localCertificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	public, err := x509.CreateCertificate(rand.Reader, c, c, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, b []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", public), write("key.pem", "PRIVATE KEY", secret)
}
