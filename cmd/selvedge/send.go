package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// maxLine bounds a line of the input.
const maxLine = 64 << 20

// SendCmd is the verb send.
type SendCmd struct {
	clientFlags

	Address    string        `arg:"" help:"Queue or topic: orders, queue://orders, topic://prices (also /queue/orders, /topic/prices)."`
	Body       *string       `arg:"" optional:"" help:"One message. Without it and without --file each line of the input is one."`
	File       string        `type:"existingfile" placeholder:"FILE" help:"Send a file's content as one message."`
	Header     []string      `short:"H" sep:"none" placeholder:"KEY=VALUE" help:"Header of each message; may be repeated."`
	Persistent bool          `default:"true" negatable:"" help:"Messages survive the failure of nodes."`
	Count      int           `default:"1" help:"Send each message that often."`
	Timeout    time.Duration `default:"30s" help:"How long to wait for a confirmation."`
}

// Help is shown by --help.
func (SendCmd) Help() string {
	return `A message counts as sent when the broker has confirmed it: by a receipt (STOMP) or
the outcome accepted (AMQP). At the first one that is not confirmed, send stops.

Examples:

    selvedge send orders 'hello'
    selvedge send orders -H priority=9 -H customer=7 --file order.json
    seq 1000 | selvedge send orders --protocol amqp --server node-b:5672
    selvedge send topic://prices 'EURUSD 1.09' --no-persistent
    selvedge send orders hello --server stomp+ssl://node-b:61614 --ca ca.pem
    selvedge send orders ping --count 100

Headers are headers of STOMP. Over AMQP content-type, content-encoding, correlation-id,
message-id, reply-to, subject, group-id and user-id become properties of that name, all
others application properties. For many messages a second see "selvedge bench": send
waits for each confirmation before it sends the next message.

Exit codes: 0 all confirmed, 1 not all.`
}

// Run sends and reports how many messages were confirmed.
func (c *SendCmd) Run(ctx context.Context, s Streams) error {
	to, err := parseDestination(c.Address)
	if err != nil {
		return &exitError{code: exitUsage, err: err}
	}
	m := outgoing{persistent: c.Persistent}
	for _, text := range c.Header {
		h, err := parseHeader(text)
		if err != nil {
			return &exitError{code: exitUsage, err: err}
		}
		m.headers = append(m.headers, h)
	}
	link, err := c.openSender(ctx, to, c.Timeout)
	if err != nil {
		return err
	}
	sent := 0
	err = c.bodies(s.In, func(body []byte) error {
		m.body = body
		for range c.Count {
			if err := c.sendOne(ctx, link, m); err != nil {
				return fmt.Errorf("message %d to %s is not confirmed: %w", sent+1, to, err)
			}
			sent++
		}
		return nil
	})
	if err != nil {
		link.abort()
	} else if err = link.close(); err != nil {
		err = fmt.Errorf("close the connection: %w", err)
	}
	summary := fmt.Sprintf("sent to %s: %d, all confirmed", to, sent)
	if err != nil {
		summary = fmt.Sprintf("sent to %s and confirmed: %d", to, sent)
	}
	_, _ = fmt.Fprintln(s.Err, summary)
	return err
}

func (c *SendCmd) sendOne(ctx context.Context, link sender, m outgoing) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	return link.send(ctx, m)
}

// bodies calls f for each message: the argument, the file, or each line.
func (c *SendCmd) bodies(in io.Reader, f func([]byte) error) error {
	switch {
	case c.File != "":
		body, err := os.ReadFile(c.File)
		if err != nil {
			return err
		}
		return f(body)
	case c.Body != nil:
		return f([]byte(*c.Body))
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		if err := f([]byte(strings.TrimSuffix(lines.Text(), "\r"))); err != nil {
			return err
		}
	}
	return lines.Err()
}
