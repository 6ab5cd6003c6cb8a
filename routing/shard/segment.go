package shard

// segments account for the log: how large each record is, and how much of it is
// live. Sequences in a log have no gaps, so a record is found by subtraction.
type segments struct {
	first       uint64 // sequence of recs[head]
	recs        []segment
	head        int
	deadTo      int // in recs: nothing is live between head and here
	deadBytes   int64
	total, live int64
}

type segment struct{ size, live uint32 }

// entryOverhead is what an entry costs beside its variable part, about.
const entryOverhead = 24

func messageCost(size uint32) uint32 { return size + entryOverhead }

// add accounts for the record at seq, the next one.
func (g *segments) add(seq uint64, size int) {
	if g.head == len(g.recs) {
		g.first, g.recs, g.head, g.deadTo, g.deadBytes = seq, g.recs[:0], 0, 0, 0
	}
	g.recs = append(g.recs, segment{size: uint32(size)})
	g.total += int64(size)
}

func (g *segments) at(seq uint64) *segment {
	if seq < g.first || seq-g.first >= uint64(len(g.recs)-g.head) {
		return nil
	}
	return &g.recs[g.head+int(seq-g.first)]
}

// hold adds live bytes to a record.
func (g *segments) hold(seq uint64, n uint32) {
	if r := g.at(seq); r != nil {
		r.live += n
		g.live += int64(n)
	}
}

// release takes live bytes from a record.
func (g *segments) release(seq uint64, n uint32) {
	if r := g.at(seq); r != nil {
		n = min(n, r.live)
		r.live -= n
		g.live -= int64(n)
	}
}

// dead returns the last sequence of the prefix in which nothing is live, and its
// bytes. The prefix ends before valid, the last record that is not void: what
// remains begins with a record from which the chain can go on. What is dead stays
// so: each record is looked at once.
func (g *segments) dead(valid uint64) (upTo uint64, bytes int64) {
	for g.deadTo < len(g.recs) && g.recs[g.deadTo].live == 0 && g.seqOf(g.deadTo) < valid {
		g.deadBytes += int64(g.recs[g.deadTo].size)
		g.deadTo++
	}
	if g.deadTo == g.head {
		return 0, 0
	}
	return g.seqOf(g.deadTo - 1), g.deadBytes
}

func (g *segments) seqOf(i int) uint64 { return g.first + uint64(i-g.head) }

// drop forgets the records up to and including upTo.
func (g *segments) drop(upTo uint64) {
	for g.head < len(g.recs)-1 && g.first <= upTo {
		r := g.recs[g.head]
		g.total -= int64(r.size)
		g.live -= int64(r.live)
		if g.head < g.deadTo {
			g.deadBytes -= int64(r.size)
		}
		g.head++
		g.first++
	}
	g.deadTo = max(g.deadTo, g.head)
	if g.head > 4096 && g.head*2 > len(g.recs) {
		g.recs = append(g.recs[:0], g.recs[g.head:]...)
		g.deadTo -= g.head
		g.head = 0
	}
}

// oldestLive returns the first record that holds something live, before valid.
func (g *segments) oldestLive(valid uint64) (seq uint64, ok bool) {
	g.dead(valid)
	if g.deadTo >= len(g.recs) || g.recs[g.deadTo].live == 0 || g.seqOf(g.deadTo) >= valid {
		return 0, false
	}
	return g.seqOf(g.deadTo), true
}
