package interop

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
)

// interpreter is Debian's Python: the one that its packages install clients for.
const interpreter = "/usr/bin/python3"

//go:embed pystomp.py
var stompScript string

//go:embed pyproton.py
var protonScript string

// Python is a client in Python: a script that prints one line of JSON for each
// message confirmed or received.
type Python struct {
	name     string
	protocol Protocol
	module   string // what the script imports
	debian   string // package that brings it
	script   string
}

var (
	pythonSTOMP  = Python{"python3-stomp", STOMP, "stomp", "python3-stomp", stompScript}
	pythonProton = Python{"python3-qpid-proton", AMQP, "proton", "python3-qpid-proton", protonScript}
)

// Name is the name of the Debian package.
func (p Python) Name() string { return p.name }

// Protocol is what the script speaks.
func (p Python) Protocol() Protocol { return p.protocol }

// Missing names the package that has to be installed.
func (p Python) Missing() string {
	if err := exec.CommandContext(context.Background(), interpreter, "-c", "import "+p.module).Run(); err != nil {
		return p.name + " is missing: apt-get install " + p.debian
	}
	return ""
}

// line is one line of a script's output.
type line struct {
	Body        string
	Redelivered bool
}

// Send hands the bodies to the script on its standard input.
func (p Python) Send(ctx context.Context, to Target, bodies []string, confirmed func(string)) error {
	return p.run(ctx, strings.NewReader(strings.Join(bodies, "\n")), func(l line) { confirmed(l.Body) },
		"send", to.Addr, to.Queue, strconv.Itoa(len(bodies)))
}

// Receive takes exactly n messages; n = 0 is not supported, and take cannot end it.
func (p Python) Receive(ctx context.Context, from Target, n int, take func(Message) bool) error {
	if n == 0 {
		return errors.New(p.name + ": receive wants a number of messages")
	}
	return p.run(ctx, nil, func(l line) { take(Message{Body: l.Body, Redelivered: l.Redelivered}) }, "receive", from.Addr, from.Queue, strconv.Itoa(n))
}

func (p Python) run(ctx context.Context, stdin io.Reader, each func(line), args ...string) error {
	cmd := exec.CommandContext(ctx, interpreter, append([]string{"-c", p.script}, args...)...)
	var words strings.Builder
	cmd.Stdin, cmd.Stderr = stdin, &words
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	in := bufio.NewScanner(stdout)
	for in.Scan() {
		var l line
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			_, _ = words.Write(append(in.Bytes(), '\n'))
			continue
		}
		each(l)
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %s: %w\n%s", p.name, args[0], err, words.String())
	}
	return in.Err()
}
