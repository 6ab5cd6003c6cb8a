// Package aside runs what goes deep into the stack on a goroutine of its own.
package aside

import (
	"fmt"
	"runtime/debug"
	"sync"
)

// Bug is a panic of a function that ran aside, with the stack that it had.
type Bug struct {
	Value any
	Stack []byte
}

// MarshalText describes the panic, for the log.
func (b *Bug) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%v\n%s", b.Value, b.Stack), nil }

// Do runs f on a goroutine of its own and waits for it. What happens once in
// the life of a connection goes deep, and a stack that has grown hardly shrinks:
// the goroutine that waits for the rest of that life keeps a small one. A panic
// goes on in the caller.
func Do(f func()) {
	var caught *Bug
	var wg sync.WaitGroup
	wg.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				caught = &Bug{p, debug.Stack()}
			}
		}()
		f()
	})
	wg.Wait()
	if caught != nil {
		panic(caught)
	}
}
