package mailbox

import (
	"sync"
	"testing"
)

func TestMailbox_EverySenderKeepsItsOrder(t *testing.T) {
	const senders, each = 8, 1000
	m := New[[2]int]()
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for i := range each {
				m.Put([2]int{s, i})
			}
		})
	}
	next := make([]int, senders)
	var batch [][2]int
	for got := 0; got < senders*each; {
		<-m.Ready()
		batch = m.Take(batch)
		for _, it := range batch {
			if it[1] != next[it[0]] {
				t.Fatalf("sender %d: got item %d, want %d", it[0], it[1], next[it[0]])
			}
			next[it[0]]++
			got++
		}
	}
	wg.Wait()
}
