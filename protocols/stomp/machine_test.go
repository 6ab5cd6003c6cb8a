package stomp

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
	"github.com/selvedge-mq/selvedge/routing"
)

// The scripts of testdata/machine show what a connection does, command by command and
// state by state: what a client sends, what the engine is asked for, what it answers.
// Each is played for 1.0, 1.1 and 1.2; where they differ, @1.0 or @1.1,1.2 stands in front.
//
//	=== a chapter         lines up to the first --- come before each of its scripts
//	--- a script          on a connection of its own
//	option in-flight 2    see [scene.option]
//	> SEND destination:/queue/a receipt:1 | body
//	                      a frame; {v} in CONNECT asks for the version, {3} names delivery 3,
//	                      {x*90} is a body that is too large for a whole message
//	< RECEIPT receipt-id:1
//	                      what the client gets, without what each such frame has; by -update
//	? 2 send queue://a | body
//	                      what the engine is asked for; those with an answer are numbered
//	! ok 2                see [scene.direct]
//	= closed              the connection is, from the node's side
func TestMachine(t *testing.T) {
	for _, file := range machineFiles(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file.path), ".txt"), func(t *testing.T) {
			var got strings.Builder
			for _, c := range file.chapters {
				got.WriteString(c.head)
				for _, s := range c.scripts {
					t.Run(c.title+"/"+s.title, func(t *testing.T) {
						now := playVersions(t, c, s)
						got.WriteString(now)
						if !*update && now != s.text {
							t.Errorf("(-want +got):\n%s", cmp.Diff(s.text, now))
						}
					})
				}
			}
			if *update {
				if err := os.WriteFile(file.path, []byte(got.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestMachineLosesItsConnectionAtEachStep plays each script up to each of its lines and
// has the client go there. The connection ends when the engine has answered, the session
// is closed, and nothing is settled as consumed that the client has not taken.
func TestMachineLosesItsConnectionAtEachStep(t *testing.T) {
	for _, file := range machineFiles(t) {
		for _, c := range file.chapters {
			for _, s := range c.scripts {
				for n := range len(inputs(c, s, 2)) + 1 {
					loseBehind(t, c, s, n)
				}
			}
		}
	}
}

// loseBehind plays so many lines, in one of the versions.
func loseBehind(t *testing.T, c chapter, s machineScript, n int) {
	t.Helper()
	v := n % len(allVersions)
	synctest.Test(t, func(t *testing.T) {
		p := newScene(t, v)
		lines := inputs(c, s, v)[:n]
		defer p.end(fmt.Sprintf("%s/%s, %s, behind %q", c.title, s.title, allVersions[v], lines))
		for _, line := range lines {
			p.step(line)
		}
	})
}

// machineFile is a file of scripts.
type machineFile struct {
	path     string
	chapters []chapter
}

type chapter struct {
	title, head string // head is its text up to its scripts
	scripts     []machineScript
}

type machineScript struct{ title, text string }

func machineFiles(tb testing.TB) []machineFile {
	tb.Helper()
	paths, err := filepath.Glob("testdata/machine/*.txt")
	if err != nil || len(paths) == 0 {
		tb.Fatalf("no scripts: %v", err)
	}
	var files []machineFile
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		f := machineFile{path: path}
		for i, part := range splitBefore(string(data), "=== ") {
			pieces := splitBefore(part, "--- ")
			c := chapter{title: titleOf(pieces[0]), head: pieces[0]}
			for _, text := range pieces[1:] {
				c.scripts = append(c.scripts, machineScript{titleOf(text), text})
			}
			if i == 0 && len(c.scripts) > 0 {
				tb.Fatalf("%s: a script stands in front of the first chapter", path)
			}
			f.chapters = append(f.chapters, c)
		}
		files = append(files, f)
	}
	return files
}

// splitBefore cuts a text in front of each line that begins so; the first piece is
// what stands before them.
func splitBefore(text, mark string) []string {
	pieces := []string{""}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, mark) {
			pieces = append(pieces, "")
		}
		pieces[len(pieces)-1] += line
	}
	return pieces
}

func titleOf(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimLeft(line, "=- ")
}

var (
	inputLine = regexp.MustCompile(`^(@\S+ )?(?:> |! |option )`)
	shownLine = regexp.MustCompile(`^(@\S+ )?[<?=] `)
)

// inputs returns the lines of a chapter and a script that are played for a version.
func inputs(c chapter, s machineScript, version int) []string {
	var lines []string
	for line := range strings.Lines(c.head + s.text) {
		if line = strings.TrimSuffix(line, "\n"); inputLine.MatchString(line) {
			if line = forVersion(line, version); line != "" {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// forVersion returns the line without its condition, or nothing if that fails.
func forVersion(line string, version int) string {
	versions, rest, ok := strings.Cut(line, " ")
	if !strings.HasPrefix(line, "@") || !ok {
		return line
	}
	if !slices.Contains(strings.Split(versions[1:], ","), allVersions[version]) {
		return ""
	}
	return rest
}

// playVersions plays a script for each version and returns its text with what came.
func playVersions(t *testing.T, c chapter, s machineScript) string {
	t.Helper()
	var shown [3][][]string // by version, then by input line of the script
	for v := range allVersions {
		synctest.Test(t, func(t *testing.T) {
			p := newScene(t, v)
			defer p.end(allVersions[v])
			for _, line := range inputs(c, machineScript{}, v) {
				p.step(line)
			}
			for line := range strings.Lines(s.text) {
				line = strings.TrimSuffix(line, "\n")
				if !inputLine.MatchString(line) {
					continue
				}
				var came []string
				if line = forVersion(line, v); line != "" {
					came = p.step(line)
				}
				shown[v] = append(shown[v], came)
			}
		})
	}
	var out strings.Builder
	n := 0
	for line := range strings.Lines(s.text) {
		switch {
		case shownLine.MatchString(line):
		case !inputLine.MatchString(line):
			out.WriteString(line)
		default:
			out.WriteString(line)
			writeShown(&out, shown[0][n], shown[1][n], shown[2][n])
			n++
		}
	}
	return out.String()
}

// writeShown writes what came for the versions: once where they agree.
func writeShown(out *strings.Builder, came ...[]string) {
	done := make([]bool, len(came))
	for v := range came {
		var alike []string
		for w := v; w < len(came); w++ {
			if !done[w] && slices.Equal(came[v], came[w]) {
				done[w] = true
				alike = append(alike, allVersions[w])
			}
		}
		mark := ""
		if len(alike) < len(came) {
			mark = "@" + strings.Join(alike, ",") + " "
		}
		for i := 0; i < len(came[v]) && len(alike) > 0; i++ {
			out.WriteString(mark + came[v][i] + "\n")
		}
	}
}

// scene is a connection of one client to a front-end with an engine.
type scene struct {
	t       *testing.T
	version int
	o       Options
	engine  *engine
	alone   chan struct{}

	peer   *prototest.Peer // nil before the first frame
	cancel context.CancelCauseFunc
	served chan struct{}
	write  chan []byte
	wg     sync.WaitGroup

	part []byte // of a frame whose end has not come
	over bool   // the end of the connection was told, or the client has gone
}

func newScene(t *testing.T, version int) *scene {
	t.Helper()
	e, alone := &engine{requests: make(map[int]func(error))}, make(chan struct{})
	return &scene{
		t: t, version: version, engine: e, alone: alone, served: make(chan struct{}), write: make(chan []byte, 100),
		o: Options{Env: protocols.Env{
			Broker: e, Auth: prototest.Users{}, Node: "n", Version: "1.0-test", Alone: alone,
			Limits: protocols.Limits{Prefetch: 3, InFlight: 4, MessageSize: 60, LargeSize: 1 << 10},
		}},
	}
}

// start connects the client.
func (p *scene) start() {
	if p.peer != nil {
		return
	}
	fe, err := New(p.o)
	if err != nil {
		p.t.Fatal(err)
	}
	client, server := net.Pipe()
	p.peer = prototest.NewPeer(client)
	ctx, cancel := context.WithCancelCause(context.Background())
	p.cancel = cancel
	p.wg.Go(func() {
		_ = fe.Serve(ctx, server)
		close(p.served)
	})
	p.wg.Go(func() {
		for b := range p.write {
			_, _ = client.Write(b) // a connection that has ended takes nothing
		}
	})
}

// end has the client go and the engine answer what it owes, and looks at what is left.
func (p *scene) end(where string) {
	p.start()
	p.leave()
	p.engine.take()
	for range 200 { // requests may follow from answers
		synctest.Wait()
		p.answerAll()
		select {
		case <-p.served:
		default:
			<-time.After(time.Second)
			continue
		}
		break
	}
	select {
	case <-p.served:
	default:
		p.t.Errorf("%s: the connection does not end", where)
	}
	for _, line := range p.engine.take() {
		if strings.HasPrefix(line, "? settle") && strings.HasSuffix(line, "accepted") {
			p.t.Errorf("%s: %q, behind the client's end", where, line)
		}
	}
	p.cancel(nil)
	close(p.write)
	p.wg.Wait()
	if p.engine.opened != p.engine.closed || p.engine.opened > 1 {
		p.t.Errorf("%s: got %d sessions opened and %d closed", where, p.engine.opened, p.engine.closed)
	}
}

func (p *scene) leave() {
	p.over = true
	p.peer.Close()
}

func (p *scene) answerAll() {
	for n := range p.engine.last + 1 {
		p.engine.answer(n, nil)
	}
}

// step plays a line and returns what came of it.
func (p *scene) step(line string) []string {
	p.t.Helper()
	if words, ok := strings.CutPrefix(line, "option "); ok {
		if p.peer != nil {
			p.t.Fatalf("%q comes too late: the client is connected", line)
		}
		p.option(strings.Fields(words))
		return nil
	}
	p.start()
	if text, ok := strings.CutPrefix(line, "> "); ok {
		p.write <- p.encode(text)
	} else {
		p.direct(strings.Fields(line)[1:])
	}
	synctest.Wait()
	got, ended := p.peer.Take()
	lines := append(p.engine.take(), p.show(got)...)
	if ended && !p.over {
		p.over = true
		if len(p.part) > 0 {
			lines = append(lines, "< a frame without its end")
		}
		lines = append(lines, "= closed")
	}
	return lines
}

func (p *scene) number(text string) int {
	p.t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

// option sets the node up, in front of the first frame.
func (p *scene) option(words []string) {
	p.t.Helper()
	switch words[0] {
	case "in-flight":
		p.o.Env.Limits.InFlight = p.number(words[1])
	case "prefetch":
		p.o.Env.Limits.Prefetch = p.number(words[1])
	case "dialect":
		p.o.Dialect = Dialect(words[1])
	case "keep-open":
		p.o.Switches.KeepOpen = true
	case "user":
		p.o.Env.Auth = prototest.Users{words[1]: words[2]}
	default:
		p.t.Fatalf("unknown option %q", words)
	}
}

var deliveryName = regexp.MustCompile(`\{(\d+)\}`)

// encode returns the octets of a frame.
func (p *scene) encode(text string) []byte {
	if text == "beat" {
		return []byte{'\n'}
	}
	text = strings.ReplaceAll(text, "{x*90}", strings.Repeat("x", largeSize))
	head, body, _ := strings.Cut(text, " | ")
	version, ack := "accept-version:"+allVersions[p.version], "message-id:ID-0-$1"
	switch p.version {
	case 0:
		version = ""
	case 1:
		ack += " subscription:1"
	case 2:
		ack = "id:ID-0-$1"
	}
	head = deliveryName.ReplaceAllString(strings.ReplaceAll(head, "{v}", version), ack)
	return []byte(strings.Join(strings.Fields(head), "\n") + "\n\n" + body + "\x00\n")
}

// sub returns the subscription of that name.
func (p *scene) sub(name string) *engineSub {
	p.t.Helper()
	for _, s := range p.engine.subs {
		if s.name == name {
			return s
		}
	}
	p.t.Fatalf("there is no subscription %s", name)
	return nil
}

// direct makes something happen beside the client's frames.
func (p *scene) direct(words []string) {
	p.t.Helper()
	rest := func(from int) string { return strings.Join(words[min(from, len(words)):], " ") }
	switch words[0] {
	case "ok": // the engine answers requests, in this order
		for _, w := range words[1:] {
			if !p.engine.answer(p.number(w), nil) {
				p.t.Fatalf("there is no request %s without an answer", w)
			}
		}
	case "fail": // it refuses one: fail 3 full why
		if !p.engine.answer(p.number(words[1]), failureOf(words[2:])) {
			p.t.Fatalf("there is no request %s without an answer", words[1])
		}
	case "deliver": // a message to a subscription: deliver s1 body
		p.sub(words[1]).deliver(rest(2))
	case "large": // a large one
		p.sub(words[1]).deliverLarge()
	case "drained": // a browser has seen what there is: so much credit is left
		p.sub(words[1]).sink.Drained(uint32(p.number(words[2])))
	case "cancel": // the engine ends a subscription
		p.sub(words[1]).sink.Closed(failureOf(words[2:]))
	case "full": // the engine asks senders to wait, or not any more
		p.engine.mu.Lock()
		p.engine.full = words[1] == "on"
		p.engine.mu.Unlock()
	case "wait":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			p.t.Fatal(err)
		}
		<-time.After(d)
	case "drain": // the node stops
		p.cancel(protocols.ErrDraining)
	case "alone": // and nobody confirms anything any more
		close(p.alone)
	case "gone": // the client goes
		p.leave()
	case "deaf": // the client reads no more
		p.peer.Pause()
	case "listens": // again
		p.peer.Resume()
	default:
		p.t.Fatalf("unknown direction %q", words)
	}
}

func failureOf(words []string) error {
	e := prototest.FailureOf(words, routing.CodeInternal)
	e.Op = "do"
	return e
}

// show writes the frames that are complete in a line each, without what each frame of
// its kind has.
func (p *scene) show(got string) []string {
	var lines []string
	octets := slices.Concat(p.part, []byte(got))
	p.part = nil
	for len(octets) > 0 {
		var first []byte
		first, octets = frame.Cut(octets)
		switch {
		case len(bytes.Trim(first, "\n")) == 0:
			lines = append(lines, slices.Repeat([]string{"< beat"}, len(first))...)
		case bytes.HasSuffix(first, []byte(frame.End)):
			lines = append(lines, p.showFrame(first))
		default:
			p.part = first
		}
	}
	return lines
}

// usual are the headers that frames of a kind have always.
var usual = map[string][]string{
	"CONNECTED": {"session", "server"},
	"MESSAGE":   {"expires", "priority", "timestamp", "destination", "content-length"},
	"ERROR":     {"content-type", "content-length", "message"},
}

func (p *scene) showFrame(octets []byte) string {
	var pool frame.Pool
	r := frame.NewReader(bytes.NewReader(octets), &pool, frame.Limits{HeaderCount: 50, HeaderSize: 1 << 10, Body: 1 << 10})
	r.SetVersion(frame.Version(p.version))
	b, err := r.Read()
	if err != nil {
		p.t.Fatalf("got %q: %v", octets, err)
	}
	f := &b.Frames[0]
	line := "< " + f.Command.String()
	for i := range f.Len() {
		key, value := f.Header(i)
		id, _ := f.Get("message-id")
		switch text := string(key) + ":" + string(value); {
		case slices.Contains(usual[f.Command.String()], string(key)):
		case text == "ack:"+string(id), text == "heart-beat:0,0":
		case text == "version:"+allVersions[p.version]:
			line += " {v}"
		default:
			line += " " + text
		}
	}
	body := string(f.Body)
	if message, ok := f.Get("message"); ok {
		line += " | " + string(message)
		if body == string(message) {
			return line
		}
	}
	return line + shownBody(body)
}
