// Package stompscript runs STOMP clients of other projects through the features
// that they have: each is a script in the client's own language. It knows the
// clients, and nothing of the broker.
package stompscript

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

//go:embed netstomp.pl
var perlScript string

//go:embed rubystomp.rb
var rubyScript string

//go:embed phpstomp.php
var phpScript string

//go:embed pystomp.py
var pythonScript string

// Feature is what a script can try.
type Feature string

// The features.
const (
	Queue       Feature = "queue"       // twenty messages with receipts, their order and headers
	Ack         Feature = "ack"         // cumulative, and what is left comes again, marked
	Individual  Feature = "individual"  // one in the middle, and what is left comes again, marked
	Nack        Feature = "nack"        // a message comes again
	Transaction Feature = "transaction" // sends and acknowledgments, committed and aborted
	Temporary   Feature = "temporary"   // a question by reply-to, and its answer
	Beats       Feature = "beats"       // a connection that lives by heart-beats
	walk        Feature = "walk"        // see Walk
)

// Way is how a client reaches a broker.
type Way struct {
	Addrs   []string // host:port; when one fails the client goes on at another
	Version string
	CA      string // speak TLS to a broker whose certificate was issued by whom stands in this file
	Web     string // the URL of a WebSocket instead of Addrs

	DeadLetters string // the broker's queue of what was refused
}

// Client is a foreign client.
type Client struct {
	Name     string
	Versions []string // that it speaks
	Returns  bool     // it can Walk
	Clear    bool     // it has no TLS

	debian   string   // packages that bring it
	run      []string // reads the script from its standard input, arguments follow
	probe    []string // succeeds where the client is installed
	secure   []string // the same for its TLS; nil: nothing more is needed
	web      []string // the same for its WebSockets; nil: it has none
	script   string
	features []Feature
	later    []Feature                                                                 // of 1.1 and 1.2 alone
	inside   func(ctx context.Context, w Way, f Feature, step func(addr string)) error // compiled in, no script
}

// Clients returns every client there is.
func Clients() []Client {
	old := []Feature{Queue, Ack, Transaction, Temporary}
	most := append(slices.Clone(old), Individual)
	newer := []Feature{Nack, Beats}
	every := []string{"1.0", "1.1", "1.2"}
	return []Client{
		{
			Name: "go-stomp", Versions: every, Returns: true, features: most, later: newer, inside: goSTOMP,
		},
		{
			Name: "Net::Stomp", debian: "libnet-stomp-perl libio-socket-ssl-perl", Versions: every, Returns: true,
			features: most, later: newer, script: perlScript,
			run: []string{"perl", "-"}, probe: []string{"perl", "-MNet::Stomp", "-e", "1"}, secure: []string{"perl", "-MIO::Socket::SSL", "-e", "1"},
		},
		{
			Name: "ruby-stomp", debian: "ruby-stomp", Versions: every, Returns: true, features: most, later: newer, script: rubyScript,
			run: []string{"ruby", "-"}, probe: []string{"ruby", "-e", "require 'stomp'"},
		},
		{
			Name: "php-stomp", debian: "php-stomp php-cli", Versions: []string{"1.0"}, Clear: true, features: old, script: phpScript,
			run: []string{"php", "--"}, probe: []string{"php", "-r", "exit(extension_loaded('stomp') ? 0 : 1);"},
		},
		{
			Name: "python3-stomp", debian: "python3-stomp python3-websocket", Versions: every, Returns: true,
			features: most, later: newer, script: pythonScript,
			run: []string{"/usr/bin/python3", "-"}, probe: []string{"/usr/bin/python3", "-c", "import stomp"},
			web: []string{"/usr/bin/python3", "-c", "import websocket"},
		},
	}
}

// Missing says why the client cannot go that way here, or nothing.
func (c *Client) Missing(ctx context.Context, w Way) string {
	probes := [][]string{c.probe}
	if w.CA != "" {
		probes = append(probes, c.secure)
	}
	if w.Web != "" {
		probes = append(probes, c.web)
	}
	for _, p := range probes {
		if p != nil && exec.CommandContext(ctx, p[0], p[1:]...).Run() != nil {
			return c.Name + " is missing: apt-get install " + c.debian
		}
	}
	return ""
}

// SpeaksWebSocket reports whether the client can go by Way.Web.
func (c *Client) SpeaksWebSocket() bool { return c.web != nil }

// Features returns what the client can try in a version.
func (c *Client) Features(version string) []Feature {
	if version == "1.0" {
		return slices.Clone(c.features)
	}
	return slices.Concat(c.features, c.later)
}

// Run tries features against a broker, and says for each that failed why.
func (c *Client) Run(ctx context.Context, w Way, features []Feature) (map[Feature]string, error) {
	return c.try(ctx, w, features, func(string) {})
}

// Walk sends and takes one message after the other, confirmed and acknowledged,
// and calls step behind each with the port of the broker. When the broker dies the
// client goes on at another one, by its own means, until it has taken twenty steps
// there. A message that is lost, or comes twice without a mark, is an error.
func (c *Client) Walk(ctx context.Context, w Way, step func(port string)) error {
	failed, err := c.try(ctx, w, []Feature{walk}, step)
	if err == nil && len(failed) > 0 {
		err = fmt.Errorf("walk of %s: %s", c.Name, failed[walk])
	}
	return err
}

// try runs the client, in its own process if it is a script.
func (c *Client) try(ctx context.Context, w Way, features []Feature, step func(port string)) (map[Feature]string, error) {
	failed := make(map[Feature]string)
	if c.inside != nil {
		for _, f := range features {
			if err := c.inside(ctx, w, f, step); err != nil {
				failed[f] = err.Error()
			}
		}
		return failed, nil
	}
	args := append(slices.Clone(c.run[1:]), strings.Join(w.Addrs, ","), w.Version)
	for _, f := range features {
		args = append(args, string(f))
		failed[f] = "the script ended before"
	}
	cmd := exec.CommandContext(ctx, c.run[0], args...)
	cmd.Env = append(os.Environ(), "STOMP_CA="+w.CA, "STOMP_WEB="+w.Web)
	cmd.Stdin = strings.NewReader(c.script)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", c.Name, err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "ok "); ok {
			delete(failed, Feature(name))
		} else if text, ok := strings.CutPrefix(lines.Text(), "not ok "); ok {
			name, why, _ := strings.Cut(text, ": ")
			failed[Feature(name)] = why
		} else if port, ok := strings.CutPrefix(lines.Text(), "step "); ok {
			step(port)
		}
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("run %s: %w: %s", c.Name, err, &errs)
	}
	return failed, nil
}
