// Package history keeps what the clients of a broker did and saw, and judges it
// afterwards: what was confirmed and never arrived, what arrived and was never
// sent, came twice without a mark, or came out of order. It does not know how
// the clients speak, nor what was done to the broker.
package history

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Kind says what an event is.
type Kind string

// The events. A message that was sent and neither confirmed nor known to have
// failed has an unknown outcome: it may arrive, once.
const (
	Sending      Kind = "sending"      // a producer begins to send the message
	Confirmed    Kind = "confirmed"    // the broker has confirmed it to the producer
	Failed       Kind = "failed"       // the producer was told of an error: the outcome is unknown
	Opened       Kind = "opened"       // a consumer begins to connect
	Received     Kind = "received"     // a consumer was handed the message
	Released     Kind = "released"     // a consumer gave the message back as if it had never come
	Gone         Kind = "gone"         // a connection of a consumer ended
	Disconnected Kind = "disconnected" // a connection of the client ended; Reason says why
	Harmed       Kind = "harmed"       // something was done to the broker; Message says what
)

// Event is one thing that happened to a client.
type Event struct {
	At      time.Duration `json:"at"` // since the history began
	Kind    Kind          `json:"kind"`
	Client  string        `json:"client,omitempty"` // of Sending and of what consumers do: one connection of the client
	Queue   string        `json:"queue,omitempty"`
	Message string        `json:"message,omitempty"` // see [ID]
	Marked  bool          `json:"marked,omitempty"`  // Received: the broker says that it may have come before
	Reason  string        `json:"reason,omitempty"`  // Failed, Disconnected: what the client was told
}

// ID returns the identity of a producer's message, which is also its body.
// Numbers begin at 0 and grow in the order of sending.
func ID(producer string, number int) string { return producer + ":" + strconv.Itoa(number) }

// Split returns the parts of an identity; false, and the whole as a producer, if it is none.
func Split(id string) (producer string, number int, ok bool) {
	producer, digits, _ := strings.Cut(id, ":")
	if number, err := strconv.Atoi(digits); err == nil && number >= 0 && ID(producer, number) == id {
		return producer, number, true
	}
	return id, 0, false
}

// Recorder collects events in the order in which they are told. It is safe for
// concurrent use. It keeps every event: a history is as long as its test.
type Recorder struct {
	begin time.Time

	mu     sync.Mutex
	events []Event
}

// NewRecorder returns a recorder whose clock starts now.
func NewRecorder() *Recorder { return &Recorder{begin: time.Now()} }

// Since returns the time of the history.
func (r *Recorder) Since() time.Duration { return time.Since(r.begin) }

// Add notes an event and its time.
func (r *Recorder) Add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.At = time.Since(r.begin)
	r.events = append(r.events, e)
}

// Events returns what was noted so far. It must not be changed.
func (r *Recorder) Events() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clip(r.events)
}

// Write writes events as lines of JSON.
func Write(w io.Writer, events []Event) error {
	out := json.NewEncoder(w)
	for i, e := range events {
		if err := out.Encode(e); err != nil {
			return fmt.Errorf("write event %d: %w", i, err)
		}
	}
	return nil
}

// Read reads what Write wrote.
func Read(r io.Reader) ([]Event, error) {
	var events []Event
	for in := json.NewDecoder(r); ; {
		var e Event
		switch err := in.Decode(&e); err {
		case nil:
			events = append(events, e)
		case io.EOF:
			return events, nil
		default:
			return nil, fmt.Errorf("read event %d: %w", len(events), err)
		}
	}
}
