package engine_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/selvedge-mq/selvedge/routing"
)

// Deliveries that waited for the window of a node while their consumer took its credit
// back counted for nothing when it granted anew: it got more than it had granted.
func TestCredit_WhatWaitedForAWindowUsesWhatIsGrantedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const credit = 10
		c := newCluster(t, 2, 1, nil)
		a, b := c.nodes[0], c.nodes[1]
		a.fabric.Lead(0)
		a.serves(t, 0)
		p, r, other := a.client(t), b.client(t), a.client(t)
		sub := subscribed(t, r, "q", 1)
		sub.Grant(credit)
		synctest.Wait()
		unplug := c.net.plug("b")
		send := func(from, n int) {
			for i := range n {
				p.send(uint64(from+i), "q", fmt.Sprint(from+i), true)
				if err := p.result(uint64(from + i)); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
		}
		send(100, credit) // all on their way
		sub.Grant(-credit)
		synctest.Wait()
		sub.Grant(credit)
		synctest.Wait()
		send(200, credit)
		unplug()
		synctest.Wait()
		if len(r.got) != credit {
			t.Fatalf("got %d deliveries for a credit of %d", len(r.got), credit)
		}
		for i, d := range r.got {
			if want := fmt.Sprint(100 + i); string(d.Envelope.Payload) != want || d.Redelivered {
				t.Errorf("got %s (again %v) as delivery %d, want %s", d.Envelope.Payload, d.Redelivered, i, want)
			}
		}
		// What went back is there for others, as if nobody had got it.
		rest := subscribed(t, other, "q", 2)
		rest.Grant(2 * credit)
		synctest.Wait()
		if len(other.got) != credit {
			t.Fatalf("got %d deliveries of what went back, want %d", len(other.got), credit)
		}
		for i, d := range other.got {
			if want := fmt.Sprint(200 + i); string(d.Envelope.Payload) != want || d.Redelivered {
				t.Errorf("got %s (again %v), want %s", d.Envelope.Payload, d.Redelivered, want)
			}
		}
		// The credit is what it was: one more settled and granted brings one more.
		sub.Settle(r.got[0].Tag, routing.Outcome{Kind: routing.Accepted}, r, 3)
		rest.Close(other, 4)
		synctest.Wait()
		sub.Grant(1)
		synctest.Wait()
		if len(r.got) != credit+1 {
			t.Errorf("got %d deliveries for a credit of %d", len(r.got), credit+1)
		}
	})
}
