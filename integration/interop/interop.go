// Package interop drives foreign clients: two in Go, two in Python, each an
// independent implementation of its protocol. It knows how each of them sends
// and receives, and nothing of the broker.
package interop

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"strings"
)

// Protocol says which listener a client wants.
type Protocol string

// The protocols.
const (
	STOMP Protocol = "stomp"
	AMQP  Protocol = "amqp"
)

// Target is a queue behind a listener.
type Target struct {
	Addr  string // host:port
	Queue string // its name, without any protocol's prefix
	Loose bool   // send non-persistent messages (a Streamer)
	Size  int    // of a body at least: it is filled up behind a space (a Streamer)
}

// padded fills a body up; bare takes away what padded added.
func padded(body string, size int) []byte {
	if len(body) >= size {
		return []byte(body)
	}
	return append([]byte(body+" "), bytes.Repeat([]byte{'.'}, size-len(body)-1)...)
}

func bare(body string) string {
	text, _, _ := strings.Cut(body, " ")
	return text
}

// Message is what a client received.
type Message struct {
	Body        string
	Redelivered bool // marked as handed out before
	Failed      int  // failed attempts so far, where the protocol tells (AMQP)
}

// Outcome is what a consumer makes of a message.
type Outcome int

// The outcomes. What a protocol has no word for is an error of Consume.
const (
	Accept  Outcome = iota
	Last            // accept it, then end in good order
	Release         // give it back as if it had never come (AMQP)
	Fail            // give it back as a failed attempt (AMQP)
	Keep            // say nothing
	Drop            // say nothing, and drop the connection
)

// Client is a foreign client.
type Client interface {
	// Name is the name of the implementation.
	Name() string
	// Protocol is what it speaks.
	Protocol() Protocol
	// Missing says why the client cannot run here, or nothing.
	Missing() string
	// Send sends persistent messages over one connection, in order, and calls
	// confirmed for each in the order in which the broker confirmed them. It
	// returns when all are confirmed.
	Send(ctx context.Context, to Target, bodies []string, confirmed func(body string)) error
	// Receive takes n messages over one connection, or with n = 0 as many as
	// there are until take returns false. Each is acknowledged after take has
	// seen it.
	Receive(ctx context.Context, from Target, n int, take func(Message) bool) error
}

// Source yields bodies. It ends when ctx does, which is when the connection that
// they are for has failed.
type Source func(ctx context.Context) iter.Seq[string]

// All is the source of bodies that are there already.
func All(bodies []string) Source {
	return func(context.Context) iter.Seq[string] { return slices.Values(bodies) }
}

// Streamer is a client that a test can feed and answer message by message.
type Streamer interface {
	Client
	// Stream sends what bodies yields until it ends, as Send does.
	Stream(ctx context.Context, to Target, bodies Source, confirmed func(body string)) error
	// Consume takes messages over one connection, with that much credit, until
	// judge says Last or Drop, which are no errors.
	Consume(ctx context.Context, from Target, credit int, judge func(Message) Outcome) error
}

// Streamers returns every client that is a Streamer.
func Streamers() []Streamer { return []Streamer{GoSTOMP{}, GoAMQP{}} }

// counted makes a judge that accepts n messages, or with n = 0 as many as there
// are until take returns false.
func counted(n int, take func(Message) bool) func(Message) Outcome {
	count := 0
	return func(m Message) Outcome {
		count++
		if more := take(m); !more || count == n {
			return Last
		}
		return Accept
	}
}

// Clients returns every client there is.
func Clients() []Client {
	return []Client{GoSTOMP{}, GoAMQP{}, pythonSTOMP, pythonProton}
}
