package stomp

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/selvedge-mq/selvedge/internal/mailbox"
	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
	"github.com/selvedge-mq/selvedge/routing"
)

const connect12 = "CONNECT\naccept-version:1.2\n\n\x00"

// largeLimits let a body of more than 64 KiB come in pieces, up to 3 MiB.
var largeLimits = protocols.Limits{MessageSize: 64 << 10, LargeSize: 3 << 20}

// pattern returns octets that are not alike, without or with NUL among them.
func pattern(size int, nul bool) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i*i>>7 ^ i)
		if b[i] == 0 && !nul {
			b[i] = 'x'
		}
	}
	return b
}

// largeSend is a SEND of a body, with or without its length.
func largeSend(destination, more string, body []byte, counted bool) []byte {
	head := "SEND\ndestination:" + destination + "\n" + more
	if counted {
		head += fmt.Sprintf("content-length:%d\n", len(body))
	}
	return append(append([]byte(head+"\n"), body...), 0)
}

// largeStage is a stage with one client that is connected.
func largeStage(t *testing.T, o Options) (*stage, *peer) {
	t.Helper()
	o.Env.Auth = prototest.Users{}
	if o.Env.Limits == (protocols.Limits{}) {
		o.Env.Limits = largeLimits
	}
	s := newStageOf(t, o)
	p := s.peer("")
	p.say(t, []byte(connect12))
	synctest.Wait()
	p.take()
	return s, p
}

// say writes what the server takes within a minute.
func (p *peer) say(t *testing.T, b []byte) {
	t.Helper()
	_ = p.nc.SetWriteDeadline(time.Now().Add(time.Minute))
	if _, err := p.nc.Write(b); err != nil {
		t.Fatal(err)
	}
}

// pieces writes b cut into pieces of so many octets.
func (p *peer) pieces(t *testing.T, b []byte, size int) {
	t.Helper()
	for len(b) > 0 {
		n := min(size, len(b))
		p.say(t, b[:n])
		b = b[n:]
	}
}

func sentBodies(s *stage) (bodies [][]byte) {
	for _, e := range s.broker.Record().Sent {
		_, body, _ := bytes.Cut(e.Payload, []byte("\n\n"))
		bodies = append(bodies, body)
	}
	return bodies
}

func TestLarge_ABodyComesInPieces(t *testing.T) {
	for _, counted := range []bool{true, false} {
		for _, piece := range []int{777, 65_536, 1 << 20, 5 << 20} {
			for _, size := range []int{64<<10 + 1, 1 << 20, 1<<20 + 12345} {
				t.Run(fmt.Sprintf("counted %v, %d octets in pieces of %d", counted, size, piece), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						s, p := largeStage(t, Options{})
						defer s.close()
						body := pattern(size, counted)
						all := largeSend("/queue/a", "receipt:1\nx:y\n", body, counted)
						all = append(all, "SEND\ndestination:/queue/a\nreceipt:2\n\nsmall\x00"...)
						p.pieces(t, all, piece)
						synctest.Wait()
						got, _ := p.take()
						if want := "RECEIPT\nreceipt-id:1\n\n\x00\nRECEIPT\nreceipt-id:2\n\n\x00\n"; got != want {
							t.Errorf("got %q, want %q", got, want)
						}
						if got := sentBodies(s); len(got) != 2 || !bytes.Equal(got[0], body) || string(got[1]) != "small" {
							t.Error("the bodies are not what was sent")
						}
						want := "destination:/queue/a\n"
						if counted {
							want += fmt.Sprintf("content-length:%d\n", size)
						}
						r := s.broker.Record()
						if head, _, _ := bytes.Cut(r.Sent[0].Payload, []byte("\n\n")); string(head)+"\n" != want+"x:y\n" {
							t.Errorf("got the headers %q, want %q", head, want)
						}
						if r.Uploads != 0 {
							t.Errorf("got %d uploads left, want none", r.Uploads)
						}
					})
				})
			}
		}
	}
}

// RECEIPTs come in the order of the requests, an upload's at its commit.
func TestLarge_ReceiptsComeInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := largeStage(t, Options{})
		defer s.close()
		s.broker.Hold()
		p.say(t, []byte("SEND\ndestination:/queue/a\nreceipt:1\n\nx\x00"))
		p.say(t, largeSend("/queue/a", "receipt:2\n", pattern(100_000, true), true))
		p.say(t, []byte("SEND\ndestination:/queue/a\nreceipt:3\n\nx\x00"))
		synctest.Wait()
		if got, _ := p.take(); got != "" {
			t.Errorf("got %q before the broker confirms, want nothing", got)
		}
		s.broker.Release()
		synctest.Wait()
		got, _ := p.take()
		if want := "RECEIPT\nreceipt-id:1\n\n\x00\nRECEIPT\nreceipt-id:2\n\n\x00\nRECEIPT\nreceipt-id:3\n\n\x00\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// A client is not read while the parts of its message wait.
func TestLarge_AClientWaitsForItsParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := largeStage(t, Options{})
		defer s.close()
		s.broker.Hold()
		s.broker.SetFull(true)
		body := pattern(3<<20, true)
		all := largeSend("/queue/a", "receipt:1\n", body, true)
		sent := make(chan error, 1)
		s.wg.Go(func() {
			_, err := p.nc.Write(all)
			sent <- err
		})
		for last, rounds := 0, 0; rounds < 100; rounds++ {
			synctest.Wait()
			held := s.broker.Record().Held
			if held > 4 { // 64 KiB are read at a time, a part has 256
				t.Fatalf("got %d parts under way, want 4 at most", held)
			}
			if held == 0 && last == 0 && len(sent) == 1 {
				break
			}
			last = held
			s.broker.Release()
			s.broker.Hold()
		}
		s.broker.Release()
		synctest.Wait()
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		if got, _ := p.take(); got != "RECEIPT\nreceipt-id:1\n\n\x00\n" {
			t.Errorf("got %q, want the RECEIPT", got)
		}
		if bodies := sentBodies(s); len(bodies) != 1 || !bytes.Equal(bodies[0], body) {
			t.Error("the body is not what was sent")
		}
	})
}

// A part's memory was taken at once: a client that announces much and sends nothing
// cost a quarter of a MiB with a few octets.
func TestLarge_MemoryGrowsWithWhatCame(t *testing.T) {
	broker := prototest.New()
	defer broker.Close()
	session, err := broker.Open(t.Context(), routing.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	m := &machine{session: session, results: completer{mailbox.New[routing.Result]()}}
	m.upload(&routing.Envelope{Address: routing.Queue("a")}, &frame.Frame{More: true, HasLength: true, Length: 4 << 20}, &sendValues{})
	for came := 0; came < 3*routing.MaxPart; {
		if got, most := cap(m.incoming.part), min(2*came, routing.MaxPart); got > most {
			t.Fatalf("got memory for %d octets when %d came, want %d at most", got, came, most)
		}
		n := came/3 + 1
		m.goOn(&frame.Frame{Body: make([]byte, n), Continued: true, More: true})
		came += n
	}
}

// What is cut off in the middle is enqueued by nobody.
func TestLarge_ABrokenConnectionLeavesNothing(t *testing.T) {
	for _, counted := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s, p := largeStage(t, Options{})
			all := largeSend("/queue/a", "", pattern(1<<20, false), counted)
			p.say(t, all[:900_000])
			synctest.Wait()
			if got := s.broker.Record().Uploads; got != 1 {
				t.Fatalf("got %d uploads, want 1", got)
			}
			p.nc.Close()
			synctest.Wait()
			if r := s.broker.Record(); r.Uploads != 0 || len(r.Sent) != 0 || r.Sessions != 0 {
				t.Errorf("got %d uploads, %d messages and %d sessions left, want none", r.Uploads, len(r.Sent), r.Sessions)
			}
			s.close()
		})
	}
}

// Each refusal comes without the rest of the body; with KeepOpen what the client has
// still sent of it is dropped, and the next frame counts.
func TestLarge_Refusals(t *testing.T) {
	body := pattern(200_000, false)
	for _, c := range []struct {
		name         string
		before       string
		frame        []byte
		fail         string // an operation that the broker fails
		want         string
		goesOn, text bool
	}{
		{name: "in a transaction", before: "BEGIN\ntransaction:t\n\n\x00", frame: largeSend("/queue/a", "transaction:t\nreceipt:1\n", body, true), want: "message:a message in a transaction has at most 65536 octets (whole-message-size)\nreceipt-id:1\n", goesOn: true},
		{name: "to a topic", frame: largeSend("/topic/a", "receipt:1\n", body, true), want: "message:a message to a topic has at most 65536 octets (whole-message-size)\nreceipt-id:1\n", goesOn: true},
		{name: "to a topic, without a length", frame: largeSend("/topic/a", "receipt:1\n", body, false), want: "message:a message to a topic has at most 65536 octets (whole-message-size)\nreceipt-id:1\n", goesOn: true},
		{name: "to several queues", frame: largeSend("/queue/a,/queue/b", "receipt:1\n", body, true), want: "message:a message to several destinations has at most 65536 octets (whole-message-size)\nreceipt-id:1\n", goesOn: true},
		{name: "no destination", frame: largeSend("", "receipt:1\n", body, true), want: "message:SEND received without a Destination specified!\nreceipt-id:1\n", goesOn: true},
		{name: "what no queue may have", frame: []byte("SEND\ndestination:/queue/a\nreceipt:1\ncontent-length:3145729\n\n"), want: "message:the maximum data length was exceeded\nreceipt-id:1\n"},
		{name: "what no queue may have, without a length", frame: largeSend("/queue/a", "receipt:1\n", pattern(4<<20, false), false), want: "message:the maximum data length was exceeded\nreceipt-id:1\n"},
		{name: "no NUL at the end", frame: append(largeSend("/queue/a", "receipt:1\n", body, true)[:200_050], "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"...), want: "message:there is no NUL octet after content-length octets of body\nreceipt-id:1\n"},
		{name: "the broker refuses the send", fail: "send", frame: largeSend("/queue/a", "receipt:1\n", pattern(2<<20, true), true), want: "message:no room\nreceipt-id:1\n", goesOn: true},
		{name: "the broker refuses a part", fail: "upload", frame: largeSend("/queue/a", "receipt:1\n", pattern(2<<20, true), true), want: "message:no room\nreceipt-id:1\n", goesOn: true},
		{name: "a body that fits and headers that do not is an upload, too", fail: "upload", frame: largeSend("/queue/a", "receipt:1\nx:"+strings.Repeat("y", 8<<10)+"\n", pattern(64<<10, true), true), want: "message:no room\nreceipt-id:1\n", goesOn: true},
		{name: "another command", frame: []byte("ACK\nid:1\nreceipt:1\ncontent-length:70000\n\n"), want: "message:the maximum data length was exceeded\nreceipt-id:1\n"},
	} {
		for _, keepOpen := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, keep open %v", c.name, keepOpen), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s, p := largeStage(t, Options{Switches: Switches{KeepOpen: keepOpen}})
					defer s.close()
					if c.fail != "" {
						s.broker.Fail(c.fail, routing.Queue("a"), &routing.Error{Code: routing.CodeFull, Op: "send", Reason: "no room"})
					}
					s.wg.Go(func() {
						_ = p.nc.SetWriteDeadline(time.Now().Add(time.Minute))
						_, _ = io.Copy(p.nc, io.MultiReader(strings.NewReader(c.before), bytes.NewReader(c.frame), strings.NewReader("SEND\ndestination:/queue/b\nreceipt:2\n\nx\x00")))
					})
					<-time.After(2 * time.Minute)
					got, closed := p.take()
					_, rest, found := strings.Cut(got, "ERROR\n"+c.want)
					if !found || strings.Count(got, "ERROR") != 1 {
						t.Fatalf("got %q, want one ERROR with %q", got, c.want)
					}
					alive := keepOpen && c.goesOn
					if strings.Contains(rest, "RECEIPT\nreceipt-id:2\n") != alive || closed == alive || strings.Contains(got, "RECEIPT\nreceipt-id:1\n") {
						t.Errorf("got %q, closed %v, want the connection to go on: %v", got, closed, alive)
					}
					if r := s.broker.Record(); r.Uploads != 0 || s.broker.Depth(routing.Queue("a")) != 0 {
						t.Errorf("got %d uploads and %d messages, want none", r.Uploads, s.broker.Depth(routing.Queue("a")))
					}
				})
			})
		}
	}
}

// A node that stops does not wait for the rest of a large message.
func TestLarge_AStoppingNodeGivesTheUploadUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := largeStage(t, Options{})
		defer s.close()
		p.say(t, largeSend("/queue/a", "receipt:1\n", pattern(1<<20, true), true)[:500_000])
		synctest.Wait()
		s.cancel(protocols.ErrDraining)
		<-time.After(time.Second)
		got, _ := p.take()
		if !strings.Contains(got, "message:node is shutting down") || strings.Contains(got, "receipt-id:1") {
			t.Errorf("got %q, want ERROR alone", got)
		}
		if r := s.broker.Record(); r.Uploads != 0 || len(r.Sent) != 0 {
			t.Errorf("got %d uploads, %d messages, want none", r.Uploads, len(r.Sent))
		}
	})
}
