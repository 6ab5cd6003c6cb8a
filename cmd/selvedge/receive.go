package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"time"
)

// ReceiveCmd is the verb receive.
type ReceiveCmd struct {
	clientFlags

	Address string        `arg:"" help:"Queue or topic: orders, queue://orders, topic://prices (also /queue/orders, /topic/prices)."`
	Count   int           `placeholder:"N" help:"End after that many messages (default: go on)."`
	Timeout time.Duration `placeholder:"DURATION" help:"End when no message came for that long (default: wait). A broker that has not opened the queue by then has not said why: it does so after its send-timeout, 15 s by default."`
	Headers bool          `help:"Print headers in front of each body, and an empty line behind each of both."`
}

// Help is shown by --help.
func (ReceiveCmd) Help() string {
	return `Prints each body and a line end, then acknowledges the message: one that could not be
printed stays in the queue.

Examples:

    selvedge receive orders --count 1
    selvedge receive orders --timeout 2s --headers      # whatever is there
    selvedge receive topic://prices --protocol amqp     # until interrupted

Over STOMP the broker may have sent up to 100 messages ahead, at most --count; those that
were not printed go back to the queue, marked as redelivered. Over AMQP no message more
than --count leaves the queue.

Exit codes: 0, or 1 when fewer than --count came.`
}

// Run prints messages until there are enough.
func (c *ReceiveCmd) Run(ctx context.Context, s Streams) error {
	from, err := parseDestination(c.Address)
	if err != nil {
		return &exitError{code: exitUsage, err: err}
	}
	if c.Count < 0 {
		return &exitError{code: exitUsage, err: errors.New("count: must not be negative")}
	}
	link, err := c.openSource(ctx, from, c.Count, c.Timeout)
	if err != nil {
		return err
	}
	got, err := c.print(ctx, link, s)
	wait := closeTimeout
	if got == 0 {
		wait = emptyTimeout // there is nothing to acknowledge
	}
	closed := link.close(wait)
	switch {
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		if got == 0 && closed != nil {
			return fmt.Errorf("receive from %s: no message for %v, and %w", from, c.Timeout, closed)
		}
		if got < c.Count {
			return fmt.Errorf("received %d of %d messages: none for %v", got, c.Count, c.Timeout)
		}
	case ctx.Err() != nil: // interrupted: that is how it ends without a count
		if got < c.Count {
			return fmt.Errorf("received %d of %d messages", got, c.Count)
		}
	case err != nil:
		return fmt.Errorf("receive from %s: %w", from, err)
	}
	if closed != nil && ctx.Err() == nil {
		return fmt.Errorf("acknowledge: %w", closed)
	}
	return nil
}

// print prints and settles messages; it returns how many.
func (c *ReceiveCmd) print(ctx context.Context, link source, s Streams) (int, error) {
	out := bufio.NewWriter(s.Out)
	for n := 0; ; n++ {
		if c.Count > 0 && n == c.Count {
			return n, nil
		}
		m, err := c.next(ctx, link)
		if err != nil {
			return n, err
		}
		if c.Headers {
			for _, h := range m.headers {
				_, _ = fmt.Fprintf(out, "%s: %s\n", h.name, h.value)
			}
			_, _ = out.WriteString("\n")
		}
		_, _ = out.Write(m.body)
		_, _ = out.WriteString("\n")
		if c.Headers {
			_, _ = out.WriteString("\n")
		}
		if err := out.Flush(); err != nil {
			return n, fmt.Errorf("print: %w", err)
		}
		if err := m.settle(ctx); err != nil {
			return n, fmt.Errorf("acknowledge: %w", err)
		}
	}
}

func (c *ReceiveCmd) next(ctx context.Context, link source) (incoming, error) {
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Timeout)
		defer cancel()
	}
	return link.receive(ctx)
}
