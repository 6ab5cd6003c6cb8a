package stompscript

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/go-stomp/stomp/v3"
)

// stepsThere is how many steps a walk takes at the second broker.
const stepsThere = 20

// redial is the pause before a client that found no broker tries again.
const redial = 100 * time.Millisecond

// walker is the walk of go-stomp, which has no means of its own to connect again:
// it dials again.
type walker struct {
	*goClient

	sends, takes *goConn
	sub          *stomp.Subscription
	sent, came   map[string]int // how often; came counts what was not marked
	seen         map[string]bool
}

func (g *goClient) walk(step func(port string)) error {
	w := &walker{goClient: g, sent: make(map[string]int), came: make(map[string]int), seen: make(map[string]bool)}
	defer w.drop()
	if err := errors.Join(w.dialSender(), w.dialTaker()); err != nil {
		return err
	}
	first, there := w.sends.port, 0
	for i := 0; there < stepsThere; i++ {
		body := strconv.Itoa(i)
		if err := w.step(body); err != nil {
			return fmt.Errorf("step %s: %w", body, err)
		}
		if w.sends.port != first && w.takes.port != first {
			there++
		}
		step(w.takes.port)
	}
	return errors.Join(w.sends.end(), w.takes.end())
}

func (w *walker) drop() {
	for _, c := range []*goConn{w.sends, w.takes} {
		if c != nil {
			_ = c.nc.Close()
		}
	}
}

// redialed connects to whichever broker answers.
func (w *walker) redialed() (*goConn, error) {
	for {
		c, err := w.connect()
		if err == nil {
			return c, nil
		}
		t := time.NewTimer(redial)
		select {
		case <-t.C:
		case <-w.ctx.Done():
			t.Stop()
			return nil, fmt.Errorf("%w: %w", w.ctx.Err(), err)
		}
	}
}

func (w *walker) dialSender() (err error) {
	w.sends, err = w.redialed()
	return err
}

// dialTaker connects and subscribes.
func (w *walker) dialTaker() error {
	for {
		c, err := w.redialed()
		if err != nil {
			return err
		}
		w.takes = c
		if w.sub, err = c.Subscribe(w.name("walk"), stomp.AckClientIndividual); err == nil {
			return nil
		}
		_ = c.nc.Close()
	}
}

// step sends a message until it is confirmed, and takes messages until it came.
func (w *walker) step(body string) error {
	for w.sent[body]++; w.send(w.sends, w.name("walk"), body) != nil; w.sent[body]++ {
		_ = w.sends.nc.Close()
		if err := w.dialSender(); err != nil {
			return err
		}
	}
	for !w.seen[body] {
		m, err := w.next(w.sub)
		if err == nil {
			if err := w.note(m); err != nil {
				return err
			}
			err = w.takes.Ack(m)
		}
		if err == nil {
			continue
		}
		if w.ctx.Err() != nil {
			return err
		}
		_ = w.takes.nc.Close()
		if err := w.dialTaker(); err != nil {
			return err
		}
	}
	return nil
}

// note holds a message to what was promised.
func (w *walker) note(m *stomp.Message) error {
	body := string(m.Body)
	if !isMarked(m) {
		w.came[body]++
	}
	w.seen[body] = true
	if w.came[body] > w.sent[body] {
		return fmt.Errorf("%s was sent %d times and came %d times unmarked", body, w.sent[body], w.came[body])
	}
	return nil
}
