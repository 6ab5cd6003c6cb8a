package bench

import (
	"context"
	"errors"
	"sync"
)

// conn is a connection of a client of either protocol.
type conn interface {
	Close(ctx context.Context) error
	Abort()
}

// line is a connection and the goroutine that reads it: what both directions and
// both protocols share of a link.
type line[C conn] struct {
	conn   C
	ended  chan struct{}
	wg     sync.WaitGroup
	failed error // why reading ended; to be read after ended is closed
}

func newLine[C conn](c C) *line[C] { return &line[C]{conn: c, ended: make(chan struct{})} }

// serve reads until the connection ends.
func (l *line[C]) serve(read func() error) {
	l.wg.Go(func() {
		defer close(l.ended)
		l.failed = read()
	})
}

func (l *line[C]) done() <-chan struct{} { return l.ended }

func (l *line[C]) err() error {
	if l.failed == nil {
		return errors.New("the connection was closed")
	}
	return l.failed
}

func (l *line[C]) close(ctx context.Context) error {
	err := l.conn.Close(ctx)
	l.wg.Wait()
	if err == nil {
		err = l.failed
	}
	return err
}

func (l *line[C]) abort() {
	l.conn.Abort()
	l.wg.Wait()
}
