package engine

import (
	"testing"

	"github.com/selvedge-mq/selvedge/routing"
)

// pieces is a consumer's record of what its reads ended with.
type pieces map[uint64]routing.Piece

func (s pieces) Piece(p routing.Piece) { s[p.Token] = p }

// A message that came again, while its consumer was at the former delivery, could not
// be read: one piece at a time.
func TestPortal_ReadsOfADeliveryThatCameAgain(t *testing.T) {
	const key, size = 7, 100
	q := &queueSub{id: 1, inFlight: map[uint64]unsettled{key: {}, key + 1: {}}, large: map[uint64]extent{key: {parts: size}, key + 1: {parts: size}}}
	p, got := &portal{subs: map[uint64]*queueSub{1: q}}, pieces{}
	read := func(key, token uint64, offset int64) {
		p.read(q, &reading{key: key, offset: offset, most: 1, to: got, token: token})
	}
	read(key, 1, 10)
	read(key, 2, 20)
	read(key+1, 3, 30)
	if len(got) != 0 {
		t.Fatalf("got %v, want that all are under way", got)
	}
	read(key, 4, 40)
	if routing.CodeOf(got[4].Err) != routing.CodeInvalid {
		t.Errorf("a third one: got %v, want that it is not valid", got[4].Err)
	}
	p.piece(0, &pieceAnswer{sub: 1, key: key, number: 2, bytes: []byte("x")})
	if a := got[2]; a.Err != nil || a.Offset != 20 || string(a.Bytes) != "x" {
		t.Errorf("the answer to the second: got %+v", a)
	}
	p.piece(0, &pieceAnswer{sub: 1, key: key + 1, number: 1})
	if len(got) != 2 {
		t.Errorf("an answer about another delivery: got %v", got)
	}
	q.over(key)
	if len(got) != 3 || routing.CodeOf(got[1].Err) != routing.CodeStale {
		t.Errorf("when the delivery is over: got %v", got)
	}
	q.endReads()
	if len(got) != 4 || routing.CodeOf(got[3].Err) != routing.CodeClosed || len(q.reading) != 0 {
		t.Errorf("when the subscription has ended: got %v", got)
	}
}
