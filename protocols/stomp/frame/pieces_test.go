package frame

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// pieceLimits have a SEND of more than 20 octets come in pieces.
var pieceLimits = Limits{HeaderCount: 6, HeaderSize: 64, Body: 100, Whole: 20}

// joined returns what a source holds, one line for each frame, with the pieces of a
// body put together.
func joined(src io.Reader, limits Limits) (lines []string, pieces int) {
	var pool Pool
	r := NewReader(src, &pool, limits)
	r.SetVersion(V12)
	line := ""
	for {
		b, err := r.Read()
		if err != nil {
			if line != "" {
				lines = append(lines, line+" cut off")
			}
			if !errors.Is(err, io.EOF) {
				lines = append(lines, err.Error())
			}
			return lines, pieces
		}
		for i := range b.Frames {
			f := &b.Frames[i]
			if f.Continued {
				pieces++
				line += string(f.Body)
			} else {
				if limits.Whole > 0 && len(f.Body) > limits.Whole && !f.More {
					lines = append(lines, "a whole frame that is too large for one")
				}
				receipt, _ := f.Get("receipt")
				line = fmt.Sprintf("%s %s %v %s", f.Command, receipt, f.HasLength, f.Body)
			}
			if !f.More {
				lines, line = append(lines, line), ""
			}
		}
		pool.Put(b)
	}
}

func TestBodiesInPiecesReadTheSameAtEverySplitPoint(t *testing.T) {
	long := strings.Repeat("0123456789", 7)
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"with a length", "SEND\nreceipt:1\ncontent-length:70\n\n" + long + "\x00\nACK\n\n\x00", []string{"SEND 1 true " + long, "ACK  false "}},
		{"without", "SEND\nreceipt:1\n\n" + long + "\x00ACK\n\n\x00", []string{"SEND 1 false " + long, "ACK  false "}},
		{"NUL inside", "SEND\ncontent-length:24\n\n\x00123456789\x00123456789\x00\n1\x00\x00ACK\n\n\x00", []string{"SEND  true \x00123456789\x00123456789\x00\n1\x00", "ACK  false "}},
		{"as much as is read at once", "SEND\n\n" + long[:20] + "\x00", []string{"SEND  false " + long[:20]}},
		{"one more", "SEND\n\n" + long[:21] + "\x00", []string{"SEND  false " + long[:21]}},
		{"two in a row", "SEND\n\n" + long + "\x00SEND\ncontent-length:70\n\n" + long + "\x00", []string{"SEND  false " + long, "SEND  true " + long}},
		{"too large with a length", "SEND\nreceipt:1\ncontent-length:101\n\n", []string{"stomp: the maximum data length was exceeded"}},
		{"no NUL", "SEND\ncontent-length:70\n\n" + long + "x", []string{"SEND  true " + long + " cut off", "stomp: there is no NUL octet after content-length octets of body"}},
		{"another command", "ACK\ncontent-length:21\n\n" + long, []string{"stomp: the maximum data length was exceeded"}},
		{"another command without a length", "ACK\n\n" + long, []string{"stomp: the maximum data length was exceeded"}},
		{"cut off", "SEND\ncontent-length:70\n\n" + long, []string{"SEND  true " + long + " cut off"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i := range len(c.in) + 1 {
				got, _ := joined(io.MultiReader(strings.NewReader(c.in[:i]), strings.NewReader(c.in[i:])), pieceLimits)
				if c.name == "no NUL" { // how much of it is handed out before depends on how it arrives
					got = got[len(got)-1:]
				}
				want := c.want[len(c.want)-len(got):]
				if diff := cmp.Diff(want, got); diff != "" || (len(got) < len(c.want) && c.name != "no NUL") {
					t.Fatalf("split at %d (-want +got):\n%s", i, diff)
				}
			}
			if got, _ := joined(iotest.OneByteReader(strings.NewReader(c.in)), pieceLimits); !cmp.Equal(c.want, got) {
				t.Errorf("octet by octet (-want +got):\n%s", cmp.Diff(c.want, got))
			}
		})
	}
}

// However large a body is, one buffer is enough, and the limit holds without a length.
func TestALargeBodyTakesOneBuffer(t *testing.T) {
	const size = 64 << 20
	limits := Limits{HeaderCount: 9, HeaderSize: 99, Body: size, Whole: 1 << 20}
	for _, counted := range []bool{true, false} {
		head := "SEND\n\n"
		if counted {
			head = fmt.Sprintf("SEND\ncontent-length:%d\n\n", size)
		}
		in := &loop{data: bytes.Repeat([]byte("x"), 64<<10)}
		var pool Pool
		r := NewReader(io.MultiReader(strings.NewReader(head), io.LimitReader(in, size), strings.NewReader("\x00")), &pool, limits)
		r.SetVersion(V12)
		total, greatest := 0, 0
		for {
			b, err := r.Read()
			if err != nil {
				break
			}
			for i := range b.Frames {
				total += len(b.Frames[i].Body)
			}
			greatest = max(greatest, cap(b.buf))
			pool.Put(b)
		}
		most := bufferSize
		if !counted {
			most = 2*limits.Whole + bufferSize
		}
		if total != size || greatest > most {
			t.Errorf("counted %v: got %d octets in buffers of %d, want %d in %d", counted, total, greatest, size, most)
		}
	}
	in := io.MultiReader(strings.NewReader("SEND\n\n"), io.LimitReader(&loop{data: []byte("x")}, 101))
	got, _ := joined(in, pieceLimits)
	if got[len(got)-1] != "stomp: the maximum data length was exceeded" {
		t.Errorf("got %q, want the limit of the body", got)
	}
}

func TestPiecesAllocateNothingInSteadyState(t *testing.T) {
	const size = 1 << 30
	var pool Pool
	r := NewReader(io.MultiReader(strings.NewReader(fmt.Sprintf("SEND\ncontent-length:%d\n\n", size)), &loop{data: bytes.Repeat([]byte("x"), 64<<10)}), &pool,
		Limits{HeaderCount: 9, HeaderSize: 99, Body: size, Whole: 1 << 20})
	r.SetVersion(V12)
	next := func() {
		b, err := r.Read()
		if err != nil {
			t.Fatal(err)
		}
		pool.Put(b)
	}
	for range 10 {
		next()
	}
	if got := testing.AllocsPerRun(200, next); got > 1 {
		t.Errorf("got %v allocations for a piece, want none", got) // the pool forgets now and then
	}
}
