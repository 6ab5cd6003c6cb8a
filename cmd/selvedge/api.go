package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/selvedge-mq/selvedge/gateway/api"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 20

// apiFlags say how to reach a node's HTTP API.
type apiFlags struct {
	HTTP     string        `name:"http" env:"SELVEDGE_HTTP" default:"127.0.0.1:8161" placeholder:"HOST:PORT" help:"HTTP address of any node of the cluster, or https://HOST:PORT (default: ${default})."`
	User     string        `env:"SELVEDGE_USER" placeholder:"NAME" help:"User, if the nodes have any."`
	Password string        `env:"SELVEDGE_PASSWORD" placeholder:"TEXT" help:"Password; better given by the environment than as a flag."`
	CA       string        `name:"ca" env:"SELVEDGE_CA" placeholder:"FILE" help:"Who issued the node's certificate, in PEM, for https:// addresses."`
	Timeout  time.Duration `default:"5s" help:"How long to wait for the answer."`
	JSON     bool          `name:"json" help:"Print the answer as JSON instead of a table."`
}

// get asks for a path and reads the answer into v. An error means that the node
// could not be asked.
func (f *apiFlags) get(ctx context.Context, path string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	resp, err := f.ask(ctx, path)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("no answer from %s within %v", f.HTTP, f.Timeout)
		}
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", f.HTTP, err)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%s is no node of Selvedge: its answer is not the expected JSON: %w", f.HTTP, err)
	}
	return nil
}

// ask asks for a path. The caller closes the answer's body.
func (f *apiFlags) ask(ctx context.Context, path string) (*http.Response, error) {
	return f.request(ctx, http.MethodGet, path)
}

// answerError is a node's answer that it does not do what was asked.
type answerError struct {
	status int // of HTTP
	text   string
}

func (e *answerError) Error() string { return e.text }

// request sends a request without a body. The caller closes the answer's body. An
// answer that is no success is an *answerError.
func (f *apiFlags) request(ctx context.Context, method, path string) (*http.Response, error) {
	base := strings.TrimSuffix(f.HTTP, "/")
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	req, err := http.NewRequestWithContext(ctx, method, base+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if f.User != "" {
		req.SetBasicAuth(f.User, f.Password)
	}
	client, err := f.client()
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", f.HTTP, reach(errors.Unwrap(err), "HTTP"))
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", f.HTTP, err)
	}
	return nil, &answerError{status: resp.StatusCode, text: f.HTTP + " answers " + problem(resp.Status, body)}
}

// client trusts, besides the system's, who stands in the file --ca.
func (f *apiFlags) client() (*http.Client, error) {
	if f.CA == "" {
		return http.DefaultClient, nil
	}
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("--ca: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--ca: there is no certificate in %s", f.CA)
	}
	return &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
	}}, nil
}

// problem adds to a status what the body says about it.
func problem(status string, body []byte) string {
	var p api.Problem
	if json.Unmarshal(body, &p) != nil || p.Detail == "" {
		return status
	}
	return status + ": " + p.Detail
}
