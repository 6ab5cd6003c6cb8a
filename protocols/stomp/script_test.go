package stomp

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
	"github.com/selvedge-mq/selvedge/routing"
)

var update = flag.Bool("update", false, "rewrite the server's lines of the scripts")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is a client of a stage.
type peer struct {
	*prototest.Peer
	nc net.Conn // its end of the pipe
}

func newPeer(nc net.Conn) *peer { return &peer{prototest.NewPeer(nc), nc} }

// take returns what has come since the last call, and whether nothing more will.
func (p *peer) take() (got string, closed bool) { return p.Take() }

// stage is a front-end with its broker and clients, inside a synctest bubble.
type stage struct {
	t      *testing.T
	broker *prototest.Broker
	fe     *Frontend
	cancel context.CancelCauseFunc
	ctx    context.Context //nolint:containedctx // of the whole stage
	peers  map[string]*peer
	said   map[string]bool // closed was told
	wg     sync.WaitGroup
	mu     sync.Mutex
	errs   []error
}

func newStage(t *testing.T, limits protocols.Limits, auth protocols.Authenticator) *stage {
	t.Helper()
	return newStageOf(t, Options{Env: protocols.Env{Auth: auth, Limits: limits}})
}

// newStageOf completes the options.
func newStageOf(t *testing.T, o Options) *stage {
	t.Helper()
	s := &stage{t: t, broker: prototest.New(), peers: make(map[string]*peer), said: make(map[string]bool)}
	s.ctx, s.cancel = context.WithCancelCause(t.Context())
	o.Env.Broker, o.Env.Version, o.Env.Node = s.broker, "1.0-test", "n"
	o.Env.Codecs = routing.Codecs{routing.EncodingSTOMP: Codec{}, routing.EncodingAMQP: plainCodec{}}
	fe, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.fe = fe
	return s
}

// plainCodec stands for another protocol: the payload is the body.
type plainCodec struct{}

func (plainCodec) Decode(p []byte) (*routing.Message, error) {
	if string(p) == "broken" {
		return nil, errors.New("broken")
	}
	return &routing.Message{
		Body: p, MessageID: "m:1", Subject: "greeting", Priority: 7, To: "examples",
		Properties: []routing.Property{{Key: "n", Value: int64(5)}, {Key: "ack", Value: "x"}, {Key: "line", Value: "a\nb"}, {Key: "k:ey", Value: "v"}, {Key: "nul", Value: "a\x00b"}, {Key: "n", Value: "again"}},
	}, nil
}
func (plainCodec) Encode(m *routing.Message) ([]byte, error) { return m.Body, nil }

func (s *stage) peer(name string) *peer {
	if p := s.peers[name]; p != nil {
		return p
	}
	client, server := net.Pipe()
	s.peers[name] = newPeer(client)
	s.wg.Go(func() {
		err := s.fe.Serve(s.ctx, server)
		s.mu.Lock()
		s.errs = append(s.errs, err)
		s.mu.Unlock()
	})
	return s.peers[name]
}

func (s *stage) close() {
	for _, p := range s.peers {
		p.Close()
	}
	s.wg.Wait()
	s.cancel(nil)
	s.broker.Close()
}

var sessionID = regexp.MustCompile(`S-[0-9a-f]{12}-\d+`)

// script runs a transcript: "> " is what a client sends, "< " what the server
// answers, a name before it is another client, "! " a direction. ^@ is NUL, ^M CR.
func (s *stage) script(text string) string {
	var out, send strings.Builder
	who := ""
	flush := func() {
		if send.Len() > 0 {
			p := s.peer(who)
			_ = p.nc.SetWriteDeadline(time.Now().Add(time.Minute))
			if _, err := io.WriteString(p.nc, send.String()); err != nil {
				fmt.Fprintf(&out, "%s= not taken\n", who)
			}
			send.Reset()
		}
		synctest.Wait()
		for _, name := range []string{"", "2", "3"} {
			if p := s.peers[name]; p != nil {
				got, closed := p.take()
				out.WriteString(render(name, got))
				if closed && !s.said[name] {
					s.said[name] = true
					fmt.Fprintf(&out, "%s= closed\n", name)
				}
			}
		}
	}
	sent := regexp.MustCompile(`^(2|3|)> ?(.*)$`)
	answered := regexp.MustCompile(`^(2|3|)[<=]`)
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if m := sent.FindStringSubmatch(line); m != nil {
			if m[1] != who {
				flush()
				who = m[1]
			}
			out.WriteString(line + "\n")
			send.WriteString(strings.NewReplacer("^@", "\x00", "^M", "\r").Replace(m[2]) + "\n")
			continue
		}
		if answered.MatchString(line) {
			continue
		}
		flush()
		out.WriteString(line + "\n")
		if order, ok := strings.CutPrefix(line, "! "); ok {
			s.direct(order)
		}
	}
	flush()
	return out.String()
}

func render(name, got string) string {
	var out strings.Builder
	got = strings.NewReplacer("\x00", "^@", "\r", "^M").Replace(sessionID.ReplaceAllString(got, "SESSION"))
	for line := range strings.Lines(got) {
		out.WriteString(strings.TrimRight(name+"< "+strings.TrimSuffix(line, "\n"), " ") + "\n")
	}
	return out.String()
}

// direct makes the broker or the clock do something.
func (s *stage) direct(order string) {
	s.t.Helper()
	words := strings.Fields(order)
	if known, err := s.broker.Direct(words); err != nil {
		s.t.Fatal(err)
	} else if known {
		return
	}
	switch words[0] {
	case "wait":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			s.t.Fatal(err)
		}
		<-time.After(d)
	case "inject": // a message of another protocol
		to, err := routing.ParseAddress(words[1])
		if err != nil {
			s.t.Fatal(err)
		}
		s.broker.Inject(routing.Envelope{
			Address: to, Encoding: routing.EncodingAMQP, Persistent: true, Priority: 7, Timestamp: 1234, Payload: []byte(words[2]),
		})
	case "drain":
		s.cancel(protocols.ErrDraining)
	case "close":
		s.peer("").nc.Close()
	default:
		s.t.Fatalf("unknown direction %q", order)
	}
}

func TestSTOMP12_Connect(t *testing.T)    { runScripts(t, "connect") }
func TestSTOMP12_Send(t *testing.T)       { runScripts(t, "send") }
func TestSTOMP12_Subscribe(t *testing.T)  { runScripts(t, "subscribe") }
func TestSTOMP12_Ack(t *testing.T)        { runScripts(t, "ack") }
func TestSTOMP12_Disconnect(t *testing.T) { runScripts(t, "disconnect") }

// runScripts plays each transcript of a file on a stage of its own.
func runScripts(t *testing.T, name string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split("\n"+string(data), "\n--- ")
	got := []string{parts[0]}
	for _, part := range parts[1:] {
		title, _, _ := strings.Cut(part, "\n")
		now := part
		t.Run(title, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, protocols.Limits{Prefetch: 3, InFlight: 4, MessageSize: 1 << 17, LargeSize: 1 << 17}, scriptUsers(title))
				defer s.close()
				now = strings.TrimSuffix(s.script(part), "\n")
			})
			if want := strings.TrimSuffix(part, "\n"); !*update && now != want {
				t.Errorf("(-want +got):\n%s", cmp.Diff(want, now))
			}
		})
		got = append(got, now)
	}
	if *update {
		text := strings.TrimPrefix(strings.Join(got, "\n--- "), "\n") + "\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func scriptUsers(title string) prototest.Users {
	if strings.Contains(title, "with users") {
		return prototest.Users{"alice": `a\nb:c`}
	}
	return nil
}
