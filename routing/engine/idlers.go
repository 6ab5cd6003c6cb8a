package engine

import (
	"context"

	"github.com/selvedge-mq/selvedge/internal/mailbox"
)

// idlers are those who wait until a goroutine has nothing under way. The
// goroutine owns them.
type idlers []chan struct{}

// wait waits until the owner of the box has nothing under way, or ctx ends. Any
// goroutine but the owner may call it.
func (i *idlers) wait(ctx context.Context, box *mailbox.Mailbox[func()]) error {
	ch := make(chan struct{})
	box.Put(func() { *i = append(*i, ch) })
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// wake ends all waits.
func (i *idlers) wake() {
	for _, ch := range *i {
		close(ch)
	}
	*i = nil
}
