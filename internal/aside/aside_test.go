package aside

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestDo_WaitsForTheFunction(t *testing.T) {
	done := false
	Do(func() { done = true })
	if !done {
		t.Error("got an answer before the function had ended")
	}
}

var errBug = errors.New("a bug")

func panics() { panic(errBug) }

// The caller's recover finds the panic, and the log finds where it came from.
func TestDo_APanicGoesOnInTheCaller(t *testing.T) {
	defer func() {
		p := recover()
		b, ok := p.(*Bug)
		if !ok {
			t.Fatalf("got %v, want the bug", p)
		}
		text, err := b.MarshalText()
		if err != nil || !strings.HasPrefix(string(text), fmt.Sprint(errBug)) || !strings.Contains(string(text), "aside.panics") {
			t.Errorf("got %s, %v, want %v and its stack", text, err, errBug)
		}
	}()
	Do(panics)
	t.Error("got no panic")
}
