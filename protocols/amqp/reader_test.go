package amqp

import (
	"bytes"
	"io"
	"net"
	"testing"

	"pgregory.net/rapid"
)

// dealt is a connection that deals its bytes out in pieces.
type dealt struct {
	net.Conn
	pieces [][]byte
}

func (d *dealt) Read(b []byte) (int, error) {
	if len(d.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(b, d.pieces[0])
	if d.pieces[0] = d.pieces[0][n:]; len(d.pieces[0]) == 0 {
		d.pieces = d.pieces[1:]
	}
	return n, nil
}

// A client that has not logged in holds what it sent: it held 64 KiB for a header
// that announced as much.
func TestPeekHoldsWhatCame(t *testing.T) {
	for _, c := range []struct{ came, most int }{
		{8, smallRead}, {smallRead, 2 * smallRead}, {5000, 8 << 10}, {60_000, 64 << 10},
	} {
		r := newReader(&dealt{pieces: [][]byte{make([]byte, c.came)}}, new(pools), 1<<20)
		if _, err := r.peek(maxSASLFrame); err == nil {
			t.Errorf("%d bytes: got no error, want the end", c.came)
		}
		if len(r.rest) != c.came || cap(r.rest) > c.most {
			t.Errorf("got %d bytes in %d, want %d in at most %d", len(r.rest), cap(r.rest), c.came, c.most)
		}
	}
}

// TestPeekAndDiscard compares with the bytes that were sent, however they come.
func TestPeekAndDiscard(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []byte
		d := &dealt{}
		for range rapid.IntRange(1, 20).Draw(t, "pieces") {
			piece := make([]byte, rapid.IntRange(1, 5000).Draw(t, "size"))
			for i := range piece {
				piece[i] = byte(len(all) + i*7)
			}
			d.pieces = append(d.pieces, piece)
			all = append(all, piece...)
		}
		all = bytes.Clone(all)
		r := newReader(d, new(pools), 1<<20)
		for range 50 {
			if len(all) == 0 {
				break
			}
			n := rapid.IntRange(1, min(len(all), 9000)).Draw(t, "peek")
			got, err := r.peek(n)
			if err != nil || !bytes.Equal(got, all[:n]) {
				t.Fatalf("got %d bytes that differ, %v, want %d", len(got), err, n)
			}
			n = rapid.IntRange(0, n).Draw(t, "discard")
			r.discard(n)
			all = all[n:]
		}
	})
}
