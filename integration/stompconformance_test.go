package integration

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/integration/harness"
	"github.com/selvedge-mq/selvedge/integration/interop/transcript"
)

// transcripts is where the front-end's conformance suite is.
const transcripts = "../protocols/stomp/testdata"

// The transcripts of the conformance suite over raw sockets, against the real node:
// each version, each dialect on a listener of its own. What a case says of the
// clock, or has the broker do, is the front-end's own test's affair.
func TestSTOMPConformanceOverSockets(t *testing.T) {
	beside(t)
	cases, err := transcript.Read(filepath.Join(transcripts, "conformance"))
	ok(t, "read", err)
	versions := clauseVersions(t)
	open, closed := conformingNode(t, ""), conformingNode(t, alice(t))
	played, left := 0, make(map[string]bool)
	for i := range cases {
		c := &cases[i]
		if why := needsMore(c); why != "" {
			left[why+": "+c.Clause] = true
			continue
		}
		site := open
		if c.Users {
			site = closed
		}
		for _, version := range []string{"1.0", "1.1", "1.2"} {
			for _, dialect := range transcript.Dialects() {
				if !c.Holds(version, dialect, versions[c.Clause]) {
					continue
				}
				played++
				t.Run(strings.Join([]string{c.Clause, version, dialect, c.Title}, "/"), func(t *testing.T) {
					p := &socketPlay{t: t, site: site, addr: site.addrs[dialect], c: c, version: version, peers: make(map[string]*socketPeer)}
					defer p.leave()
					p.run(dialect)
				})
			}
		}
	}
	words := slices.Sorted(func(yield func(string) bool) {
		for w := range left {
			if !yield(w) {
				return
			}
		}
	})
	measured(t, "%d transcripts over sockets; not played: %s", played, strings.Join(words, ", "))
}

// needsMore says what a case needs that a real node does not offer.
func needsMore(c *transcript.Case) string {
	if c.Clause == "Ack_06" && c.Title == "for its subscription alone" {
		return "messages of two queues in a known order"
	}
	for _, line := range c.Lines {
		for _, own := range []string{"temporary-1", "ID-ffff", "user name or password is invalid", "message:not supported|"} {
			if strings.Contains(line, own) {
				return "names and words of the test's broker"
			}
		}
		if strings.Contains(line, ":9466848") { // the year 2000, in which tests of the unit begin
			return "the clock"
		}
		_, order, found := strings.Cut(line, "$ ")
		switch word, _, _ := strings.Cut(order, " "); {
		case !found || strings.Contains(line, ">") || strings.Contains(line, "<"):
		case word == "gone" || word == "depth":
		case word == "wait":
			return "the clock"
		default:
			return "a broker that obeys"
		}
	}
	return ""
}

// clauseVersions reads which versions each clause is about.
func clauseVersions(t *testing.T) map[string][]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(transcripts, "clauses.txt"))
	ok(t, "clauses", err)
	all := make(map[string][]string)
	for line := range strings.Lines(string(data)) {
		words := strings.Fields(line)
		for _, w := range words {
			if strings.HasPrefix(w, "1.") && !strings.HasPrefix(words[0], "#") && len(w) == 3 {
				all[words[0]] = append(all[words[0]], w)
			} else if w != words[0] {
				break
			}
		}
	}
	return all
}

// site is a node with a listener for each dialect, and the limits of the suite.
type site struct {
	node  *harness.Node
	addrs map[string]string
	users bool // nobody else is admitted, to look at queues neither
}

func conformingNode(t *testing.T, users string) *site {
	t.Helper()
	s := &site{addrs: make(map[string]string), users: users != ""}
	text := "listeners:\n"
	for _, d := range transcript.Dialects() {
		s.addrs[d] = harness.Addr(t)
		text += fmt.Sprintf("  - name: stomp-%s\n    protocol: stomp\n    address: %q\n    dialect: %s\n", d, s.addrs[d], d)
	}
	file := filepath.Join(t.TempDir(), "selvedge.yaml")
	ok(t, "configuration", os.WriteFile(file, []byte(text+users), 0o600))
	s.node = harness.Start(t, harness.Options{Args: []string{
		"--config", file, "--dead-letter", "DLQ", "--header-count", "150", "--header-size", "8KiB", "--message-size", "128KiB",
		"--in-flight", "100", "--in-flight-bytes", "32000", "--stomp-transactions", "3", "--stomp-transaction-size", "5",
		"--stomp-subscriptions", "20", "--stomp-temporary", "3",
	}})
	return s
}

// socketPeer is a client; what comes is gathered.
type socketPeer struct {
	nc   net.Conn
	done chan struct{}
	news chan struct{} // has a value when something came; capacity 1

	mu     sync.Mutex
	got    string
	closed bool

	seen int // how far got was looked at
}

func (p *socketPeer) gather() {
	defer close(p.done)
	in := bufio.NewReader(p.nc)
	buf := make([]byte, 64<<10)
	for {
		n, err := in.Read(buf)
		p.mu.Lock()
		p.got += string(buf[:n])
		p.closed = err != nil
		p.mu.Unlock()
		select {
		case p.news <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

func (p *socketPeer) state() (got string, closed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.got, p.closed
}

// socketPlay is a case on its way.
type socketPlay struct {
	t       *testing.T
	site    *site
	addr    string
	c       *transcript.Case
	version string
	peers   map[string]*socketPeer
	ids     []string // of messages, in the order in which they came; the first is ID-0-1
	made    []string // names of messages that there are not
}

func (p *socketPlay) run(dialect string) {
	steps, err := p.c.Steps(p.version, dialect)
	ok(p.t, "steps", err)
	for i, s := range steps {
		text, oneByOne := s.Expand(p.version)
		switch s.Kind {
		case transcript.Send:
			p.send(s.Who, text, oneByOne)
			if next := i + 1; next < len(steps) && steps[next].Who != s.Who {
				p.settle(s.Who)
			}
		case transcript.Want:
			p.want(s.Who, text)
		case transcript.Never:
			if got := p.named(s.Who); strings.Contains(got, text) {
				p.t.Fatalf("got %q, want no %q in it", got, text)
			}
		case transcript.State:
			p.state(s.Who, s.Text)
		case transcript.Direct:
			p.order(s.Text)
		}
	}
}

// peer connects a client that speaks for the first time.
func (p *socketPlay) peer(who string) *socketPeer {
	if x := p.peers[who]; x != nil {
		return x
	}
	nc, err := new(net.Dialer).DialContext(bounded(p.t), "tcp", p.addr)
	ok(p.t, "dial", err)
	x := &socketPeer{nc: nc, done: make(chan struct{}), news: make(chan struct{}, 1)}
	p.peers[who] = x
	go x.gather()
	if !p.c.Raw {
		p.write(x, transcript.Connect(p.version), false)
		p.want(who, "CONNECTED\n")
		p.want(who, "\n\n\x00\n")
		x.mu.Lock()
		_, x.got, _ = strings.Cut(x.got, "\n\n\x00\n")
		x.mu.Unlock()
		x.seen = 0
	}
	return x
}

func (p *socketPlay) send(who, text string, oneByOne bool) {
	x := p.peer(who)
	p.write(x, p.real(who, text), oneByOne)
}

// write writes what the node takes: it may have closed, and what it says counts.
func (p *socketPlay) write(x *socketPeer, data string, oneByOne bool) {
	ok(p.t, "deadline", x.nc.SetWriteDeadline(time.Now().Add(harness.Patience)))
	size := len(data)
	if oneByOne {
		size = 1
	}
	for len(data) > 0 {
		n, err := x.nc.Write([]byte(data[:size]))
		if err != nil {
			return
		}
		data = data[n:]
		size = min(size, len(data))
	}
}

// receiptOfOurs is asked for by settle and taken out again.
const receiptOfOurs = "barrier-of-the-test"

var ourReceipt = regexp.MustCompile(`RECEIPT\nreceipt-id:` + receiptOfOurs + `\n\n\x00\n`)

// settle waits until the node has done what a client sent, before another client
// goes on, if the client is in the state to ask for it.
func (p *socketPlay) settle(who string) {
	x := p.peers[who]
	got, closed := x.state()
	if closed || p.c.Raw && !strings.Contains(got, "CONNECTED\n") {
		return
	}
	p.write(x, "SEND\ndestination:/topic/barrier\nreceipt:"+receiptOfOurs+"\n\n\x00", false)
	p.until("an answer to the barrier", who, func(string) bool {
		got, closed := x.state()
		return closed || ourReceipt.MatchString(got)
	})
	x.mu.Lock()
	x.got = ourReceipt.ReplaceAllString(x.got, "")
	x.mu.Unlock()
}

// until waits for what a client is sent.
func (p *socketPlay) until(name, who string, done func(got string) bool) {
	p.t.Helper()
	x := p.peers[who]
	end := time.NewTimer(shortWhile)
	defer end.Stop()
	for {
		got := p.named(who)
		if done(got) {
			return
		}
		if _, closed := x.state(); closed {
			if got = p.named(who); done(got) {
				return
			}
			p.t.Fatalf("got %q and the end, want %s", got, name)
		}
		select {
		case <-x.news:
		case <-end.C:
			p.t.Fatalf("got %q, want %s", got, name)
		}
	}
}

func (p *socketPlay) want(who, text string) {
	p.t.Helper()
	x := p.peer(who)
	p.until(fmt.Sprintf("%q behind the first %d octets", text, x.seen), who, func(got string) bool {
		at := strings.Index(got[min(x.seen, len(got)):], text)
		if at >= 0 {
			x.seen += at + len(text)
		}
		return at >= 0
	})
}

func (p *socketPlay) state(who, want string) {
	x := p.peers[who]
	if want == "open" {
		if _, closed := x.state(); closed {
			p.t.Fatalf("got %q and the end, want an open connection", p.named(who))
		}
		return
	}
	select {
	case <-x.done:
	case <-time.After(shortWhile):
		p.t.Fatalf("got %q and an open connection, want its end", p.named(who))
	}
}

func (p *socketPlay) order(text string) {
	word, rest, _ := strings.Cut(text, " ")
	switch word {
	case "gone":
		p.settle(rest)
		_ = p.peers[rest].nc.Close()
		<-p.peers[rest].done
	case "depth":
		name, count, _ := strings.Cut(rest, " ")
		n, err := strconv.Atoi(count)
		ok(p.t, "depth", err)
		if p.site.users {
			return
		}
		for who := range p.peers {
			p.settle(who)
		}
		p.depth(name, n, false)
	}
}

// shortWhile is how long what must come may take.
const shortWhile = 20 * time.Second

// depth waits until a queue holds so many messages that nobody has, or, with held,
// so many in all.
func (p *socketPlay) depth(queue string, want int, held bool) {
	p.t.Helper()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	end := time.NewTimer(shortWhile)
	defer end.Stop()
	for {
		q, err := harness.Look(p.site.node.HTTP, queue)
		if !held {
			q.Depth -= q.InFlight
		}
		if err == nil && q.Depth == want || want == 0 && errors.Is(err, harness.ErrNoQueue) {
			return
		}
		select {
		case <-look.C:
		case <-end.C:
			p.t.Fatalf("queue %s: got %+v, %v, want %d messages", queue, q, err, want)
		}
	}
}

// What differs from node to node and from run to run.
var (
	messageID = regexp.MustCompile(`ID-[0-9a-f]+-[0-9a-f]+`)
	product   = regexp.MustCompile(`Selvedge/\S+`)
)

// named returns what a client got, with the names of the suite: the first message
// that came to anybody is ID-0-1.
func (p *socketPlay) named(who string) string {
	got, _ := p.peer(who).state()
	got = product.ReplaceAllString(got, "Selvedge/1.0-test")
	return messageID.ReplaceAllStringFunc(got, func(id string) string {
		i := slices.Index(p.ids, id)
		if slices.Contains(p.made, id) {
			return id
		}
		if i < 0 {
			i, p.ids = len(p.ids), append(p.ids, id)
		}
		return fmt.Sprint("ID-0-", i+1)
	})
}

// mostMessages is more than a case has: a greater number names no message.
const mostMessages = 20

// real puts the node's ids into what is to be sent; a message that did not come
// yet is waited for.
func (p *socketPlay) real(who, text string) string {
	return messageID.ReplaceAllStringFunc(text, func(name string) string {
		n, err := strconv.Atoi(strings.TrimPrefix(name, "ID-0-"))
		if err != nil || n > mostMessages {
			p.made = append(p.made, name)
			return name
		}
		p.until(name, who, func(string) bool { return len(p.ids) >= n })
		return p.ids[n-1]
	})
}

// leave ends the case: all clients go, and what is left in queues is taken out.
func (p *socketPlay) leave() {
	for _, x := range p.peers {
		_ = x.nc.Close()
		<-x.done
	}
	if p.site.users {
		return
	}
	queues, err := harness.LookQueues(p.site.node.HTTP)
	ok(p.t, "queues", err)
	for _, q := range queues {
		if q.Depth > 0 || q.InFlight > 0 {
			p.empty(q.Name)
		}
	}
	harness.Until(p.t, "queues without consumers, who would take messages of the next case", func() (string, bool) {
		queues, err := harness.LookQueues(p.site.node.HTTP)
		busy := slices.ContainsFunc(queues, func(q harness.Queue) bool { return q.Consumers > 0 })
		return fmt.Sprintf("%+v, error %v", queues, err), err == nil && !busy
	})
}

// empty takes everything out of a queue.
func (p *socketPlay) empty(queue string) {
	x := dialRaw(p.t, p.site.addrs["rabbitmq"], "") // where every name can be written
	defer x.nc.Close()
	go func() { _, _ = io.Copy(io.Discard, x.in) }()
	x.write(p.t, "SUBSCRIBE\nid:0\ndestination:/queue/"+strings.ReplaceAll(url.PathEscape(queue), ":", `\c`)+"\n\n\x00")
	p.depth(queue, 0, true)
}

// alice is the suite's user, as an entry of the configuration.
func alice(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(bounded(t), harness.Binary(t), "passwd", "alice")
	cmd.Stdin = strings.NewReader(`a\nb:c` + "\n")
	entry, err := cmd.Output()
	ok(t, "passwd", err)
	return string(entry)
}
