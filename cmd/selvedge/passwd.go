package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/selvedge-mq/selvedge/gateway/auth"
)

// PasswdCmd is the verb passwd.
type PasswdCmd struct {
	SCRAM bool `name:"scram" help:"Make a hash for SCRAM-SHA-256: AMQP clients then prove the password without sending it."`

	User string `arg:"" optional:"" help:"Name of the user: prints the whole entry of the configuration, not the hash alone."`
}

// Help is shown by --help.
func (PasswdCmd) Help() string {
	return `Asks for a password twice and prints its argon2id hash; the password itself is
stored nowhere. With --scram it is a hash for SCRAM-SHA-256, which is weaker against who
steals the file; it is offered to clients when all users with a password have one. When the input is no terminal, its first line is the password.

Examples:

    selvedge passwd alice                                # an entry for the file:
        users:
          - name: "alice"
            password: "$argon2id$v=19$m=19456,t=2,p=1$..."
    pass show selvedge | selvedge passwd                 # the hash alone, from a pipe`
}

// Run reads the password and prints the hash.
func (c *PasswdCmd) Run(s Streams) error {
	password, err := readPassword(s)
	if err != nil {
		return err
	}
	hashOf := auth.Hash
	if c.SCRAM {
		hashOf = auth.HashSCRAM
	}
	hash, err := hashOf(password)
	if err != nil {
		return err
	}
	if c.User == "" {
		_, err = fmt.Fprintln(s.Out, hash)
		return err
	}
	_, err = fmt.Fprintf(s.Out, "users:\n  - name: %q\n    password: %q\n", c.User, hash)
	return err
}

// readPassword asks on a terminal, without echo and twice; from anything else
// it reads one line.
func readPassword(s Streams) (string, error) {
	if f, ok := s.In.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return askPassword(f, s.Err)
	}
	line, err := bufio.NewReader(s.In).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

func askPassword(terminal *os.File, out io.Writer) (string, error) {
	var answers [2]string
	for i, prompt := range []string{"Password: ", "Once more: "} {
		_, _ = io.WriteString(out, prompt)
		b, err := term.ReadPassword(int(terminal.Fd()))
		_, _ = io.WriteString(out, "\n")
		if err != nil {
			return "", fmt.Errorf("read the password: %w", err)
		}
		answers[i] = string(b)
	}
	if answers[0] != answers[1] {
		return "", errors.New("the two passwords are not the same")
	}
	return answers[0], nil
}
