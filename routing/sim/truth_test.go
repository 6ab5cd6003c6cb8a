package sim_test

import (
	"bytes"
	"encoding/binary"
	"time"
)

// truth is the log of a group as far as it is committed, read by the rules of
// design alone: a record counts if it continues the chain of those before it.
type truth struct {
	applied int // entries of raft's log
	first   uint64
	count   uint64 // records from first on

	begun  bool
	epoch  uint32
	since  time.Duration // of the epoch
	number uint64
	link   uint32
	epochs map[uint32]uint64 // session that wrote in an epoch
	voids  int
}

func (t *truth) last() uint64 { return t.first + t.count - 1 }

// extend takes in what was committed. A committed entry never changes again.
func (t *truth) extend(g *group, log []*entry) {
	for ; t.applied < len(log); t.applied++ {
		e := log[t.applied]
		switch {
		case e.purge:
			if upTo := min(e.expect, t.last()); upTo >= t.first {
				t.count -= upTo - t.first + 1
				t.first = upTo + 1
			}
		case e.rec != nil && e.expect == t.last():
			t.count++
			t.record(g, e)
		}
	}
}

const (
	recEpoch, recNumber, recLink = 2, 6, 14 // where a record's header has them
	recHeader, recTrailer        = 26, 4
)

// record judges a record of the log.
func (t *truth) record(g *group, e *entry) {
	if g.w.plan.messages == 0 {
		return // a test of the log alone: its records are anything
	}
	if len(e.rec) < recHeader+recTrailer {
		g.w.violated("shard %d: a record of %d bytes was appended", g.shard, len(e.rec))
		return
	}
	epoch := binary.BigEndian.Uint32(e.rec[recEpoch:])
	number := binary.BigEndian.Uint64(e.rec[recNumber:])
	link := binary.BigEndian.Uint32(e.rec[recLink:])
	next := epoch == t.epoch && number == t.number+1 || epoch > t.epoch && number == 1
	if t.begun && (link != t.link || !next) {
		t.voids++
		g.w.notef("void shard %d seq %d epoch %d number %d", g.shard, t.last(), epoch, number)
		return
	}
	if epoch > t.epoch && g.stuck != e.ask.from {
		g.unstick(g.stuck)
	}
	if epoch > t.epoch {
		t.since = g.w.now()
	}
	t.begun, t.epoch, t.number = true, epoch, number
	t.link = binary.BigEndian.Uint32(e.rec[len(e.rec)-recTrailer:])
	writer := e.ask.from.session
	if other, ok := t.epochs[epoch]; ok && other != writer {
		g.w.violated("shard %d: sessions %d and %d both write in epoch %d", g.shard, other, writer, epoch)
	}
	t.epochs[epoch] = writer
	g.w.ledger.logged(g, e.rec)
}

// A message's payload is its number between two signs, so that it is found in
// whatever carries it.
const (
	markSign   = '#'
	markDigits = 6
)

// mark is where the number of a message stands in some bytes.
type mark struct{ id, pos int }

// marks returns the numbers of the messages in some bytes.
func marks(b []byte) []mark {
	var out []mark
	for pos := 0; ; {
		i := bytes.IndexByte(b[pos:], markSign)
		if i < 0 || len(b) < pos+i+markDigits+2 {
			return out
		}
		pos += i
		if id, ok := readMark(b[pos:]); ok {
			out = append(out, mark{id: id, pos: pos})
			pos += markDigits + 2
			continue
		}
		pos++
	}
}

func readMark(b []byte) (id int, ok bool) {
	if b[markDigits+1] != markSign {
		return 0, false
	}
	for _, c := range b[1 : markDigits+1] {
		if c < '0' || c > '9' {
			return 0, false
		}
		id = id*10 + int(c-'0')
	}
	return id, true
}
