package amqp

import (
	"fmt"
	"runtime/debug"
	"sync"
)

// bug is a panic of a function that ran aside, with the stack that it had.
type bug struct {
	value any
	stack []byte
}

// MarshalText describes the panic, for the log.
func (b *bug) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%v\n%s", b.value, b.stack), nil }

// aside runs f on a goroutine of its own and waits for it. What happens once in
// the life of a connection goes deep, and a stack that has grown hardly shrinks:
// the goroutine that waits for the rest of that life keeps a small one. A panic
// goes on in the caller.
func aside(f func()) {
	var caught *bug
	var wg sync.WaitGroup
	wg.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				caught = &bug{p, debug.Stack()}
			}
		}()
		f()
	})
	wg.Wait()
	if caught != nil {
		panic(caught)
	}
}
