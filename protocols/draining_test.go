package protocols_test

import (
	"context"
	"errors"
	"testing"

	"github.com/selvedge-mq/selvedge/protocols"
)

// A client of a node that ends because its disk failed was told that the node stops, as if
// somebody had wanted it to.
func TestStopping_SaysWhy(t *testing.T) {
	for _, c := range []struct {
		name     string
		cause    error
		draining bool
		want     string
	}{
		{"it was told to", protocols.ErrDraining, true, "the node stops"},
		{"no reason is known", protocols.Draining(""), true, "the node stops"},
		{"a reason", protocols.Draining("its disk failed"), true, "the node stops: its disk failed"},
		{"another cause", context.Canceled, false, "the node stops"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := errors.Is(c.cause, protocols.ErrDraining); got != c.draining {
				t.Errorf("got it called draining %v, want %v", got, c.draining)
			}
			if got := protocols.Stopping("the node stops", c.cause); got != c.want {
				t.Errorf("got %q told, want %q", got, c.want)
			}
		})
	}
}
