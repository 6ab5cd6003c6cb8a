package amqp

import (
	"math"
	"testing"
)

func TestOutgoingWindowFollowsThePeer(t *testing.T) {
	for _, c := range []struct {
		name     string
		w        outgoing
		nextIn   uint32
		known    bool
		window   uint32
		wantLeft uint32
		wantOK   bool
	}{
		{"nothing is under way", outgoing{nextID: 7}, 7, true, 10, 10, true},
		{"three are under way", outgoing{nextID: 7}, 4, true, 10, 7, true},
		{"more are under way than the window holds", outgoing{nextID: 7}, 4, true, 2, 0, true},
		{"the ids wrap in between", outgoing{nextID: 1}, math.MaxUint32, true, 10, 8, true},
		{"the peer has not seen our begin", outgoing{first: 5, nextID: 7}, 0, false, 10, 8, true},
		{"the peer claims what was not sent", outgoing{nextID: 7}, 8, true, 10, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			ok := c.w.update(c.nextIn, c.known, c.window)
			if c.w.left != c.wantLeft || ok != c.wantOK {
				t.Errorf("got %d left, %v, want %d, %v", c.w.left, ok, c.wantLeft, c.wantOK)
			}
		})
	}
}
