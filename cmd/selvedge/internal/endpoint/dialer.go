package endpoint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"

	"github.com/coder/websocket"
)

// Trust says whose certificate a broker must show, and which one it is shown.
type Trust struct {
	CA        string // PEM of issuers beside the system's; empty: the system's alone
	Cert, Key string // PEM shown to brokers that ask for a certificate
	Blind     bool   // any certificate will do: whoever is on the way can read along
}

// Config reads the files. The error names the file that is wrong.
func (t Trust) Config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: t.Blind}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		if c.RootCAs, err = x509.SystemCertPool(); err != nil {
			c.RootCAs = x509.NewCertPool()
		}
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca: there is no certificate in %s", t.CA)
		}
	}
	if (t.Cert == "") != (t.Key == "") {
		return nil, errors.New("cert, key: one is nothing without the other")
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("cert, key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// Dial connects, up to where the message protocol begins.
func Dial(ctx context.Context, e *Endpoint, trust *tls.Config) (net.Conn, error) {
	if e.WebSocket != "" {
		return dialWeb(ctx, e, trust)
	}
	var d net.Dialer
	if !e.TLS {
		return d.DialContext(ctx, "tcp", e.Addr)
	}
	return (&tls.Dialer{NetDialer: &d, Config: trust}).DialContext(ctx, "tcp", e.Addr)
}

// dialWeb connects by WebSocket; the messages are a stream of bytes.
func dialWeb(ctx context.Context, e *Endpoint, trust *tls.Config) (net.Conn, error) {
	offer := []string{"v12.stomp"}
	if e.Protocol == AMQP {
		offer = []string{"amqp"}
	}
	tr := &http.Transport{TLSClientConfig: trust}
	defer tr.CloseIdleConnections()
	ws, resp, err := websocket.Dial(ctx, e.WebSocket, &websocket.DialOptions{Subprotocols: offer, HTTPClient: &http.Client{Transport: tr}})
	if err != nil {
		if resp != nil && resp.Body != nil {
			_ = resp.Body.Close() // the error says what there is to say
		}
		return nil, err
	}
	ws.SetReadLimit(-1) // it is a stream: the protocol bounds its frames
	return &webConn{Conn: websocket.NetConn(context.WithoutCancel(ctx), ws, websocket.MessageBinary)}, nil
}

// webConn tells a Read that is cut off by Close as other connections do.
type webConn struct {
	net.Conn

	closed atomic.Bool
}

func (c *webConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil && c.closed.Load() {
		err = net.ErrClosed
	}
	return n, err
}

func (c *webConn) Close() error {
	c.closed.Store(true)
	return c.Conn.Close()
}
