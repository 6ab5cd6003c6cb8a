package frame

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

var testLimits = Limits{HeaderCount: 6, HeaderSize: 64, Body: 100}

type readCase struct {
	name    string
	version Version
	in      string
	want    string // frames, headers and error, as in the file
}

func readCases(tb testing.TB) []readCase {
	tb.Helper()
	data, err := os.ReadFile("testdata/read.txt")
	if err != nil {
		tb.Fatal(err)
	}
	var cases []readCase
	for block := range strings.SplitSeq(string(data), "\n\n") {
		var c readCase
		var want strings.Builder
		for line := range strings.Lines(block) {
			line = strings.TrimSuffix(line, "\n")
			word, rest, _ := strings.Cut(line, " ")
			switch word {
			case "#", "":
			case "case":
				c.name = rest
			case "version":
				c.version = Version(strings.Index("1.0 1.1 1.2", rest) / 4)
			case "in":
				if c.in, err = strconv.Unquote(rest); err != nil {
					tb.Fatalf("%s: %v", c.name, err)
				}
			default:
				fmt.Fprintln(&want, line)
			}
		}
		if c.name != "" {
			c.want = want.String()
			cases = append(cases, c)
		}
	}
	return cases
}

func describe(f *Frame) string {
	var s strings.Builder
	counted := ""
	if f.HasLength {
		counted = " counted"
	}
	fmt.Fprintf(&s, "frame %s %s%s\n", f.Command, quote(f.Body), counted)
	for i := range f.Len() {
		k, v := f.Header(i)
		fmt.Fprintf(&s, "header %s %s\n", quote(k), quote(v))
	}
	return s.String()
}

func quote(b []byte) string {
	if strings.Contains(string(b), "€") {
		return `"` + string(b) + `"`
	}
	return strconv.Quote(string(b))
}

// readAll returns what a source holds, as the golden file writes it.
func readAll(src io.Reader, v Version, limits Limits) string {
	var pool Pool
	r := NewReader(src, &pool, limits)
	r.SetVersion(v)
	var s strings.Builder
	for {
		b, err := r.Read()
		if err != nil {
			if e, ok := errors.AsType[*SyntaxError](err); ok {
				if e.Receipt != "" {
					fmt.Fprintf(&s, "receipt %q\n", e.Receipt)
				}
				fmt.Fprintf(&s, "error %q\n", e.Reason)
			} else if !errors.Is(err, io.EOF) {
				fmt.Fprintf(&s, "error %q\n", err.Error())
			}
			return s.String()
		}
		for i := range b.Frames {
			s.WriteString(describe(&b.Frames[i]))
		}
		pool.Put(b)
	}
}

func TestReaderReadsGoldenFrames(t *testing.T) {
	for _, c := range readCases(t) {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, readAll(strings.NewReader(c.in), c.version, testLimits)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSTOMP_Framing_10_ReadsTheSameAtEverySplitPoint(t *testing.T) {
	for _, c := range readCases(t) {
		t.Run(c.name, func(t *testing.T) {
			for i := range len(c.in) + 1 {
				src := io.MultiReader(strings.NewReader(c.in[:i]), strings.NewReader(c.in[i:]))
				if diff := cmp.Diff(c.want, readAll(src, c.version, testLimits)); diff != "" {
					t.Errorf("split at %d (-want +got):\n%s", i, diff)
				}
			}
			src := iotest.OneByteReader(strings.NewReader(c.in))
			if diff := cmp.Diff(c.want, readAll(src, c.version, testLimits)); diff != "" {
				t.Errorf("octet by octet (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSTOMP_Body_01_LargerThanTheBuffer(t *testing.T) {
	for _, counted := range []bool{true, false} {
		body := strings.Repeat("0123456789\n\r:\\\xff", 1<<20/15)
		if counted {
			body += strings.Repeat("\x00", 15)
		}
		in := "SEND\na:b\n\n" + body + "\x00ACK\nid:1\n\n\x00"
		if counted {
			in = "SEND\na:b\ncontent-length:" + strconv.Itoa(len(body)) + "\n\n" + body + "\x00ACK\nid:1\n\n\x00"
		}
		var pool Pool
		r := NewReader(iotest.HalfReader(strings.NewReader(in)), &pool, Limits{HeaderCount: 9, HeaderSize: 99, Body: 2 << 20})
		r.SetVersion(V12)
		var got []string
		same := false
		for {
			b, err := r.Read()
			if err != nil {
				break
			}
			for _, f := range b.Frames {
				got = append(got, fmt.Sprint(f.Command, len(f.Body), f.Len()))
				same = same || string(f.Body) == body
			}
		}
		want := []string{fmt.Sprint(Send, len(body), 1), fmt.Sprint(Ack, 0, 1)}
		if counted {
			want[0] = fmt.Sprint(Send, len(body), 2)
		}
		if !same {
			t.Errorf("counted %v: the body is not what was sent", counted)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("counted %v (-want +got):\n%s", counted, diff)
		}
	}
}

func TestSTOMP_Body_11_IsLimitedBeforeTheVersionIsSet(t *testing.T) {
	var pool Pool
	r := NewReader(strings.NewReader("CONNECT\ncontent-length:70000\n\n"), &pool, Limits{HeaderCount: 9, HeaderSize: 99, Body: 1 << 20})
	if _, err := r.Read(); err == nil || !strings.Contains(err.Error(), "maximum data length") {
		t.Errorf("got %v, want the limit of the body", err)
	}
}

// A body is announced that is within the limit, and does not come.
func TestSTOMP_Body_11_MemoryIsTakenForWhatComes(t *testing.T) {
	for _, length := range []string{"content-length:104857600\n", ""} {
		in := "SEND\ndestination:/queue/q\n" + length + "\nthe first octets"
		got := allocated(func() {
			drain(strings.NewReader(in), V12, Limits{HeaderCount: 9, HeaderSize: 99, Body: 100 << 20})
		})
		if most := uint64(1 << 20); got > most {
			t.Errorf("%q: got %d octets of memory for %d of input, want at most %d", length, got, len(in), most)
		}
	}
}

func TestReaderGivesItsBufferBackWhenIdle(t *testing.T) {
	for _, in := range []string{"\n", "ACK\nid:1\n\n\x00\n"} {
		var pool Pool
		r := NewReader(iotest.OneByteReader(strings.NewReader(in)), &pool, testLimits)
		for {
			if _, err := r.Read(); err != nil {
				break
			}
		}
		if r.next != nil {
			t.Errorf("after %q: got a buffer of %d octets, want none", in, cap(r.next.buf))
		}
	}
}

// Half a CONNECT once held 64 KiB for as long as a login may take.
func TestReaderHoldsLittleBeforeTheVersionIsSet(t *testing.T) {
	var pool Pool
	pool.Put(&Batch{buf: make([]byte, 0, bufferSize)}) // of another client
	half := "CONNECT\nlogin:" + strings.Repeat("x", 3000)
	r := NewReader(io.MultiReader(strings.NewReader(half), iotest.ErrReader(os.ErrDeadlineExceeded)), &pool, Limits{HeaderCount: 9, HeaderSize: 9999, Body: 999})
	if _, err := r.Read(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	if got, most := cap(r.next.buf), 2*len(half); got > most {
		t.Errorf("got a buffer of %d octets for %d, want at most %d", got, len(half), most)
	}
	pool.Put(r.next)
	r.SetVersion(V12)
	if got := cap(r.batch().buf); got != bufferSize {
		t.Errorf("got a buffer of %d octets behind the login, want %d", got, bufferSize)
	}
}

type loop struct {
	data []byte
	pos  int
}

func (l *loop) Read(p []byte) (int, error) {
	n := copy(p, l.data[l.pos:])
	l.pos = (l.pos + n) % len(l.data)
	return n, nil
}

// steady returns a reader of SEND frames without end, and the octets of one.
func steady(size int, counted bool) (r *Reader, pool *Pool, each int) {
	one := "SEND\ndestination:/queue/orders.new\ncontent-type:text/plain\npersistent:true\nreceipt:message-12345\nx\\cy:z\n"
	if counted {
		one += "content-length:" + strconv.Itoa(size) + "\n"
	}
	one += "\n" + strings.Repeat("x", size) + "\x00\n"
	pool = new(Pool)
	r = NewReader(bufio.NewReaderSize(&loop{data: []byte(strings.Repeat(one, 64))}, 64<<10), pool,
		Limits{HeaderCount: 100, HeaderSize: 4096, Body: 1 << 20})
	r.SetVersion(V12)
	return r, pool, len(one)
}

func TestReaderAllocatesNothingInSteadyState(t *testing.T) {
	for _, counted := range []bool{true, false} {
		r, pool, _ := steady(256, counted)
		frames := 0
		const rounds = 200
		got := testing.AllocsPerRun(rounds, func() {
			b, err := r.Read()
			if err != nil {
				t.Fatal(err)
			}
			frames += len(b.Frames)
			pool.Put(b)
		})
		// The pool forgets now and then, above all under the race detector.
		if got *= rounds; got > float64(frames)/10 {
			t.Errorf("counted %v: got %v allocations for %d frames, want none", counted, got, frames)
		}
	}
}

func BenchmarkReader(b *testing.B) {
	for _, size := range []int{256, 4096} {
		for _, counted := range []bool{true, false} {
			b.Run(fmt.Sprintf("body=%d/counted=%v", size, counted), func(b *testing.B) {
				r, pool, each := steady(size, counted)
				b.SetBytes(int64(each))
				b.ReportAllocs()
				for n := 0; n < b.N; {
					batch, err := r.Read()
					if err != nil {
						b.Fatal(err)
					}
					n += len(batch.Frames)
					pool.Put(batch)
				}
			})
		}
	}
}

// An ERROR about a limit did not say how much is allowed.
func TestABreachOfALimitSaysTheLimit(t *testing.T) {
	limits := Limits{HeaderCount: 3, HeaderSize: 100, Body: 1000, Login: 300}
	for _, tt := range []struct{ input, want string }{
		{"CONNECT\na:1\nb:1\nc:1\nd:1\n\n\x00", "a frame has at most 3 headers"},
		{"CONNECT\na:" + strings.Repeat("x", 200) + "\n\n\x00", "a header line has at most 100 octets"},
		{"CONNECT\n" + strings.Repeat("a:"+strings.Repeat("x", 97)+"\n", 3) + "\n\x00", "all header lines of a frame have at most 300 octets"},
		{"CONNECT\ncontent-length:301\n\n", "a body of this kind has at most 300 octets"},
	} {
		var pool Pool
		_, err := NewReader(strings.NewReader(tt.input), &pool, limits).Read()
		if e, ok := errors.AsType[*SyntaxError](err); !ok || e.Detail != tt.want || !e.TooBig {
			t.Errorf("%.20q: got %#v, want the detail %s", tt.input, err, tt.want)
		}
	}
}
