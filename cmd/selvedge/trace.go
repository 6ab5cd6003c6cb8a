package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/selvedge-mq/selvedge/gateway/api"
)

// maxTraceLine bounds a frame of a trace.
const maxTraceLine = 4 << 20

// TraceCmd is the verb trace.
type TraceCmd struct {
	apiFlags

	Protocol string `enum:"stomp,amqp," default:"" help:"Only connections of this protocol: stomp or amqp."`
	Conn     string `placeholder:"ID" help:"Only the connection of that name in the node's log."`
	Client   string `placeholder:"HOST:PORT" help:"Only the connection from that address."`
	Of       string `placeholder:"NAME" help:"Only connections of that user."`
	Count    int    `placeholder:"N" help:"End after so many frames."`
}

// Help is shown by --help.
func (TraceCmd) Help() string {
	return `Shows the frames of the connections of one node as they come, until it is
interrupted: > from a client, < to a client. Passwords are masked, and of what a message
holds only the length is shown. A client's connections are at the node that it connected
to: ask that one.

Examples:

    selvedge trace
    selvedge trace --of alice --protocol stomp
    selvedge trace --client 10.0.0.7:41234 --json | jq -r .frame

Exit codes: 0, or 3 when the node cannot be asked.`
}

// Run prints frames until ctx ends or there were enough.
func (c *TraceCmd) Run(ctx context.Context, s Streams) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	q := url.Values{}
	for name, value := range map[string]string{"protocol": c.Protocol, "conn": c.Conn, "client": c.Client, "user": c.Of} {
		if value != "" {
			q.Set(name, value)
		}
	}
	resp, err := c.ask(ctx, api.PathTrace+"?"+q.Encode())
	if err != nil {
		return &exitError{code: exitUnreachable, err: err}
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	err = c.print(s.Out, resp.Body)
	if ctx.Err() != nil {
		return nil // interrupted
	}
	return err
}

func (c *TraceCmd) print(out io.Writer, in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxTraceLine)
	for n := 0; (c.Count == 0 || n < c.Count) && lines.Scan(); n++ {
		var err error
		if c.JSON {
			_, err = fmt.Fprintf(out, "%s\n", lines.Bytes())
		} else {
			err = writeTrace(out, lines.Bytes())
		}
		if err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the trace ended: %w", err)
	}
	return nil
}

// writeTrace writes a frame for people: its first line behind the connection, the
// others below it.
func writeTrace(out io.Writer, line []byte) error {
	var f api.TraceFrame
	if err := json.Unmarshal(line, &f); err != nil {
		return fmt.Errorf("the node's answer is no trace: %w", err)
	}
	at, err := time.Parse(time.RFC3339Nano, f.Time)
	if err != nil {
		return fmt.Errorf("the node's answer is no trace: %w", err)
	}
	way := ">"
	if f.Sent {
		way = "<"
	}
	who := f.Client
	if f.User != "" {
		who = f.User + "@" + who
	}
	text := strings.Split(strings.TrimSuffix(f.Frame, "\n"), "\n")
	for i := range text {
		text[i] = printable(text[i])
	}
	_, err = fmt.Fprintf(out, "%s %s %s %s %s\n", at.Format("15:04:05.000"), printable(f.Protocol), printable(who), way, strings.Join(text, "\n    "))
	return err
}

// printable spells out what a terminal would obey or hide, as Go does in quotes:
// a client must not move the cursor of who watches it.
func printable(text string) string {
	var b strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
	}
	return b.String()
}
