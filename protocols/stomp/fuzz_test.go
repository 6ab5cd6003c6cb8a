package stomp

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/selvedge-mq/selvedge/integration/interop/transcript"
	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
)

var (
	allDialects = []Dialect{ActiveMQ, Artemis, RabbitMQ, Strict}
	allVersions = []string{"1.0", "1.1", "1.2"}
)

// How the octet of a version is read beside its remainder by three.
const (
	fuzzLogin   = 1 << 6 // the machine waits for CONNECT
	fuzzTrickle = 1 << 7 // bodies come in many pieces
)

// FuzzMachine feeds a machine frames, results, deliveries and writes in any order. It
// must keep its accounts and its limits, write frames only, at most one ERROR, RECEIPTs
// in order, and nothing behind its end.
func FuzzMachine(f *testing.F) {
	addConformance(f)
	addScripts(f)
	long := strings.Repeat("x", 150)
	f.Add([]byte("SUBSCRIBE\nid:1\ndestination:/queue/a\n\n\x00SEND\ndestination:/queue/a\nreceipt:1\n\n"+long+"\x00SEND\ndestination:/queue/a\nreceipt:2\n\nx\x00DISCONNECT\nreceipt:3\n\n\x00"),
		[]byte{15, 15, 3, 12}, uint8(2), uint8(4))
	f.Add([]byte("SUBSCRIBE\nid:1\ndestination:/queue/a\nack:client\n\n\x00SEND\ndestination:/queue/a\nreceipt:1\ncontent-length:150\n\n"+long+"\x00UNSUBSCRIBE\nid:1\n\n\x00"),
		[]byte{2 | turnFails<<4, 15, 7 | turnNoPiece<<4}, uint8(fuzzTrickle+1), uint8(0))
	f.Fuzz(func(t *testing.T, in, turns []byte, version, dialect uint8) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		d := newDrive(t, allDialects[dialect%4], dialect&4 != 0, version&fuzzLogin != 0, frame.Version(version%3))
		d.play(in, turns, version&fuzzTrickle != 0)
		d.finish(t)
		runtime.ReadMemStats(&after)
		if got, most := after.TotalAlloc-before.TotalAlloc, uint64(8<<20+4000*len(in)); got > most {
			t.Errorf("got %d octets of memory for %d of input, want at most %d", got, len(in), most)
		}
	})
}

// play reads frames and hands them over, with a turn behind each.
func (d *drive) play(in, turns []byte, trickle bool) {
	var pool frame.Pool
	src := io.Reader(bytes.NewReader(in))
	if trickle {
		src = iotest.OneByteReader(src)
	}
	r := frame.NewReader(src, &pool, frame.Limits{HeaderCount: 30, HeaderSize: 500, Body: 500, Whole: 100})
	if d.m.state == stateOpen {
		r.SetVersion(d.m.version)
	}
	for n := 0; ; {
		batch, err := r.Read()
		if err != nil {
			break
		}
		last := batch.Frames[len(batch.Frames)-1].Command
		for i := range batch.Frames {
			d.frame(&batch.Frames[i])
			if len(turns) > 0 {
				d.turn(turns[n%len(turns)])
				n++
			}
		}
		pool.Put(batch)
		if last == frame.Connect || last == frame.Stomp {
			d.logIn()
			r.SetVersion(d.m.version)
		}
	}
}

// addConformance seeds what the clients of the conformance suite send, for each
// version and dialect.
func addConformance(f *testing.F) {
	f.Helper()
	turns := [][]byte{{15}, {7, 5, 14}, {15 | turnTurned<<4, 7}, {3, 15 | turnLate<<4, 0, 15}}
	for n, c := range conformanceCases(f) {
		v, dialect := n%3, n/3%4
		steps, err := c.Steps(allVersions[v], string(allDialects[dialect]))
		if err != nil {
			f.Fatal(err)
		}
		var in bytes.Buffer
		for _, s := range steps {
			if s.Kind == transcript.Send && in.Len() < 4000 {
				text, _ := s.Expand(allVersions[v])
				in.WriteString(text)
			}
		}
		if c.Raw {
			v |= fuzzLogin
			v += (n%3 - v%3 + 3) % 3
		}
		f.Add(in.Bytes(), turns[n%len(turns)], uint8(v), uint8(dialect|n&4))
	}
}

var sentLine = regexp.MustCompile(`^\d?> ?(.*)$`)

// addScripts seeds what the clients of the scripts send.
func addScripts(f *testing.F) {
	f.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	turns := [][]byte{{15}, {2 | turnFails<<4, 15, 7}, {15, 15 | turnDraining<<4}, {15, 7, 15 | turnCancelled<<4}}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for n, part := range strings.Split(string(data), "\n--- ") {
			var in strings.Builder
			for line := range strings.Lines(part) {
				if m := sentLine.FindStringSubmatch(strings.TrimSuffix(line, "\n")); m != nil {
					in.WriteString(strings.NewReplacer("^@", "\x00", "^M", "\r").Replace(m[1]) + "\n")
				}
			}
			f.Add([]byte(in.String()), turns[n%len(turns)], uint8(fuzzLogin), uint8(n))
		}
	}
}
