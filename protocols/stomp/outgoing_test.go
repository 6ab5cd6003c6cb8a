package stomp

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
	"github.com/selvedge-mq/selvedge/routing"
)

// injectLarge puts a large message into queue a.
func injectLarge(s *stage, headers string, body []byte) {
	head := "destination:/queue/a\n" + headers + "\n"
	s.broker.InjectLarge(routing.Envelope{
		Address: routing.Queue("a"), Encoding: routing.EncodingSTOMP, Persistent: true, Payload: append([]byte(head), body...),
	}, len(head))
}

// messages returns the heads and bodies of the frames that a client got.
func messages(got string) (heads []string, bodies [][]byte) {
	for head, body := range frame.Heads([]byte(got)) {
		heads, bodies = append(heads, string(head)), append(bodies, body)
	}
	return heads, bodies
}

const subscribeA = "SUBSCRIBE\nid:1\ndestination:/queue/a\n"

func TestLarge_AMessageIsWrittenInPieces(t *testing.T) {
	for _, c := range []struct {
		name, version, headers, ack, want string
		dialect                           Dialect
		body                              []byte
	}{
		{name: "bytes", version: "1.2", headers: "content-length:1000000\nx\\cy:z\n", ack: "client-individual", body: pattern(1_000_000, true), want: "content-length:1000000\nx\\cy:z"},
		{name: "bytes for 1.0", version: "1.0", headers: "content-length:1000000\nx:y\\cz\n", ack: "auto", body: pattern(1_000_000, true), want: "content-length:1000000\nx:y:z"},
		{name: "text stays text", version: "1.1", headers: "x:y\n", ack: "auto", body: pattern(262_145, false), want: "destination:/queue/a\nx:y"},
		{name: "headers that stand apart", version: "1.2", headers: "content-length:300000\nx:" + strings.Repeat("y", 2*apartFrom) + "\n", ack: "auto", body: pattern(300_000, true), want: strings.Repeat("y", 2*apartFrom)},
		{name: "the dialect wants a length", dialect: RabbitMQ, version: "1.2", headers: "x:y\n", ack: "auto", body: pattern(300_000, false), want: "content-length:300000\ndestination:/queue/a\nx:y"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStageOf(t, Options{Env: protocols.Env{Auth: prototest.Users{}}, Dialect: c.dialect})
				defer s.close()
				injectLarge(s, c.headers, c.body)
				p := s.peer("")
				p.say(t, []byte("CONNECT\naccept-version:"+c.version+"\n\n\x00"+subscribeA+"ack:"+c.ack+"\n\n\x00SEND\ndestination:/queue/a\nreceipt:1\n\nsmall\x00"))
				<-time.After(time.Second)
				got, _ := p.take()
				heads, bodies := messages(got)
				if len(heads) != 4 {
					t.Fatalf("got %q, want CONNECTED, two MESSAGEs and RECEIPT", heads)
				}
				i := slices.IndexFunc(heads, func(h string) bool { return strings.HasPrefix(h, "MESSAGE") })
				if !strings.HasSuffix(heads[i], c.want) || !bytes.Equal(bodies[i], c.body) {
					t.Errorf("got %q and a body of %d octets, want %q and %d", heads[i], len(bodies[i]), c.want, len(c.body))
				}
				settled := 2
				if c.ack != "auto" {
					settled = 0
					p.say(t, []byte("ACK\nid:ID-0-1\n\n\x00"))
					settled++
				}
				synctest.Wait()
				r := s.broker.Record()
				if len(r.Settled) != settled || r.Settled[0].Outcome.Kind != routing.Accepted {
					t.Errorf("got %+v, want %d accepted", r.Settled, settled)
				}
			})
		})
	}
}

// Two pieces are asked for ahead of a client that does not read, and not more. What
// else there is to say waits behind the message.
func TestLarge_PiecesWaitForTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStageOf(t, Options{Env: protocols.Env{Auth: prototest.Users{}}})
		defer s.close()
		body := pattern(2<<20, true)
		injectLarge(s, fmt.Sprintf("content-length:%d\n", len(body)), body)
		client := converse(t, s, "CONNECT\naccept-version:1.2\nheart-beat:0,1000\n\n\x00", subscribeA+"ack:client\n\n\x00")
		defer client.Close()
		var got []byte
		buf := make([]byte, 64<<10)
		for len(got) < 600_000 {
			n, err := client.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, buf[:n]...)
		}
		if _, err := io.WriteString(client, "SEND\ndestination:/queue/b\nreceipt:1\n\nx\x00UNSUBSCRIBE\nid:1\nreceipt:2\n\n\x00DISCONNECT\nreceipt:3\n\n\x00"); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		if most := len(got) + 3*routing.MaxPart; s.broker.Record().Read > most {
			t.Errorf("got %d octets of pieces when the client has read %d, want %d at most", s.broker.Record().Read, len(got), most)
		}
		rest, err := io.ReadAll(client)
		if err != nil {
			t.Fatal(err)
		}
		_, bodies := messages(string(append(got, rest...)))
		if len(bodies) != 4 || !bytes.Equal(bodies[0], body) {
			t.Fatalf("got %d frames, want the message whole and three RECEIPTs", len(bodies))
		}
		if !bytes.HasSuffix(rest, []byte("RECEIPT\nreceipt-id:1\n\n\x00\nRECEIPT\nreceipt-id:2\n\n\x00\nRECEIPT\nreceipt-id:3\n\n\x00\n")) {
			t.Errorf("got %q at the end, want the RECEIPTs in order", rest[len(rest)-200:])
		}
	})
}

// An ERROR waits for the end of the message, too.
func TestLarge_AnErrorComesBehindTheMessage(t *testing.T) {
	for _, c := range []struct{ name, frames string }{
		{"of a frame", "BOGUS\n\n\x00"},
		{"of a request", "SEND\ndestination:/queue/full\nreceipt:1\n\nx\x00SEND\ndestination:/queue/b\nreceipt:2\n\nx\x00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStageOf(t, Options{Env: protocols.Env{Auth: prototest.Users{}}})
				defer s.close()
				s.broker.Fail("send", routing.Queue("full"), &routing.Error{Code: routing.CodeFull, Op: "send", Reason: "no room"})
				body := pattern(2<<20, true)
				injectLarge(s, fmt.Sprintf("content-length:%d\n", len(body)), body)
				client := converse(t, s, connect12, subscribeA+"\n\x00")
				defer client.Close()
				begin := make([]byte, 1000)
				if _, err := io.ReadFull(client, begin); err != nil {
					t.Fatal(err)
				}
				if _, err := io.WriteString(client, c.frames); err != nil {
					t.Fatal(err)
				}
				<-time.After(time.Second)
				rest, err := io.ReadAll(client)
				if err != nil {
					t.Fatal(err)
				}
				heads, bodies := messages(string(append(begin, rest...)))
				if len(bodies) != 2 || !bytes.Equal(bodies[0], body) || !strings.HasPrefix(heads[1], "ERROR\n") {
					t.Errorf("got %q, want the whole message and ERROR", heads)
				}
				if r := s.broker.Record(); len(r.Settled) != 1 || s.broker.Depth(routing.Queue("a")) != 0 {
					t.Errorf("got %+v, want the message consumed: it was written", r.Settled)
				}
			})
		})
	}
}

// What breaks in the middle cannot be told: the connection ends, the message goes back.
func TestLarge_BrokenOffInTheMiddle(t *testing.T) {
	for _, ack := range []string{"auto", "client"} {
		for _, c := range []struct {
			name   string
			happen func(s *stage, client net.Conn)
		}{
			{"a piece fails", func(s *stage, _ net.Conn) {
				s.broker.Fail("read", routing.Queue("a"), &routing.Error{Code: routing.CodeTimeout, Op: "read"})
			}},
			{"the broker ends the subscription", func(s *stage, _ net.Conn) {
				s.broker.CloseSubscriptions(routing.Queue("a"), &routing.Error{Code: routing.CodeDeleted, Op: "subscribe"})
			}},
			{"the client goes", func(_ *stage, client net.Conn) { client.Close() }},
			{"the node stops, and the client reads no more", func(s *stage, _ net.Conn) {
				s.cancel(protocols.ErrDraining)
				<-time.After(10 * time.Second)
			}},
		} {
			t.Run(c.name+", "+ack, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newStageOf(t, Options{Env: protocols.Env{Auth: prototest.Users{}}})
					defer s.close()
					body := pattern(2<<20, true)
					injectLarge(s, fmt.Sprintf("content-length:%d\n", len(body)), body)
					client := converse(t, s, connect12, subscribeA+"ack:"+ack+"\n\n\x00")
					defer client.Close()
					if _, err := io.ReadFull(client, make([]byte, 600_000)); err != nil {
						t.Fatal(err)
					}
					c.happen(s, client)
					rest, _ := io.ReadAll(client)
					synctest.Wait()
					if len(rest) > 1_000_000 || bytes.Contains(rest, []byte("ERROR\n")) {
						t.Errorf("got %d octets more, want few and no ERROR within the body", len(rest))
					}
					<-time.After(time.Minute)
					if r := s.broker.Record(); len(r.Settled) != 0 || s.broker.Depth(routing.Queue("a")) != 1 || r.Sessions != 0 {
						t.Errorf("got %+v, %d messages and %d sessions, want the message back", r.Settled, s.broker.Depth(routing.Queue("a")), r.Sessions)
					}
				})
			})
		}
	}
}

// A piece that did not come in time, since there was no leader, ended the connection.
func TestLarge_APieceIsAskedForAgain(t *testing.T) {
	for _, c := range []struct {
		name   string
		codes  []routing.Code // what the reads end with, one after the other; OK is a piece
		breaks bool
	}{
		{name: "late once", codes: []routing.Code{routing.CodeTimeout}},
		{name: "late often", codes: slices.Repeat([]routing.Code{routing.CodeUnavailable}, protocols.ReadTries-1)},
		{name: "late often, in two places", codes: slices.Concat(
			slices.Repeat([]routing.Code{routing.CodeTimeout}, protocols.ReadTries-1), []routing.Code{routing.CodeOK},
			slices.Repeat([]routing.Code{routing.CodeTimeout}, protocols.ReadTries-1),
		)},
		{name: "late too often", codes: slices.Repeat([]routing.Code{routing.CodeTimeout}, protocols.ReadTries), breaks: true},
		{name: "somebody else's", codes: []routing.Code{routing.CodeStale}, breaks: true},
		{name: "ended", codes: []routing.Code{routing.CodeClosed}, breaks: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, a := benchMachine(t, &nowhere{}), &asked{}
			s := &subscription{sub: a, events: m.events, mode: ackIndividual, number: 1}
			head := "destination:/queue/a\n\n"
			m.backlog.push(delivery{sub: s, d: routing.Delivery{Envelope: routing.Envelope{
				Address: routing.Queue("a"), Encoding: routing.EncodingSTOMP, Payload: []byte(head), Size: 1 << 20,
			}}})
			m.pump()
			for _, code := range c.codes {
				p := routing.Piece{Bytes: make([]byte, 1000)}
				if code != routing.CodeOK {
					p = routing.Piece{Err: &routing.Error{Code: code, Op: "read"}}
				}
				to := a.to
				a.to = nil
				if to == nil {
					t.Fatal("no piece was asked for")
				}
				to.Piece(p)
				for _, e := range m.events.Take(nil) {
					e.run(m)
				}
				if code == routing.CodeOK {
					for ok := true; ok; {
						_, _, ok = m.nextOutput(nil)
					}
				}
			}
			if broken := m.outgoing == nil; broken != c.breaks || !broken && a.to == nil {
				t.Errorf("got broken off: %v, asked again: %v, want broken off: %v", broken, a.to != nil, c.breaks)
			}
		})
	}
}

// No heart-beat gets into a body, however long a piece takes.
func TestLarge_NoHeartBeatInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStageOf(t, Options{Env: protocols.Env{Auth: prototest.Users{}}})
		defer s.close()
		body := bytes.Repeat([]byte("x"), 1<<20)
		injectLarge(s, fmt.Sprintf("content-length:%d\n", len(body)), body)
		client := converse(t, s, "CONNECT\naccept-version:1.2\nheart-beat:0,500\n\n\x00", subscribeA+"\n\x00")
		defer client.Close()
		var got []byte
		buf := make([]byte, 50_000)
		for len(got) < len(body)+1000 {
			<-time.After(2 * time.Second)
			n, err := client.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, buf[:n]...)
			if bytes.HasSuffix(got, []byte("\x00\n")) || bytes.HasSuffix(got, []byte("\x00\n\n")) {
				break
			}
		}
		if _, bodies := messages(string(got)); len(bodies) != 1 || !bytes.Equal(bodies[0], body) {
			t.Errorf("got %d frames, want the body whole", len(bodies))
		}
	})
}

// Over a WebSocket the frame is one message all the same, in fragments.
func TestLarge_OneMessageOfAWebSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStageOf(t, Options{Env: protocols.Env{Auth: prototest.Users{}}})
		defer s.close()
		body := pattern(1<<20, true)
		inject(s, 1, 100)
		injectLarge(s, fmt.Sprintf("content-length:%d\n", len(body)), body)
		injectLarge(s, fmt.Sprintf("content-length:%d\n", len(body)), body)
		client, server := net.Pipe()
		r := &recorded{Conn: server}
		p := newPeer(client)
		s.peers[""] = p
		s.wg.Go(func() { _ = s.fe.Serve(s.ctx, r) })
		p.say(t, []byte(connect12+"SUBSCRIBE\nid:2\ndestination:/queue/q\n\n\x00"+subscribeA+"\n\x00"))
		<-time.After(time.Second)
		r.mu.Lock()
		defer r.mu.Unlock()
		var got []int
		for _, w := range r.writes {
			_, bodies := messages(string(w))
			if len(bodies) != 1 {
				t.Fatalf("got %d frames in a message, want 1", len(bodies))
			}
			got = append(got, len(bodies[0]))
		}
		if diff := cmp.Diff([]int{0, 100, len(body), len(body)}, got); diff != "" {
			t.Errorf("bodies (-want +got):\n%s", diff)
		}
	})
}

// A large message of another protocol is converted by its head; what cannot be, and is
// larger than what the node holds as a whole, becomes a dead letter.
func TestLarge_OfAnotherProtocol(t *testing.T) {
	for _, c := range []struct {
		name, head string
		want       string
	}{
		{"one run of bytes", "8:", "priority:7\ndestination:/queue/a\ncontent-length:999990\ntype:greeting"},
		{"no run", "x", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStageOf(t, Options{Env: protocols.Env{Auth: prototest.Users{}, Limits: protocols.Limits{MessageSize: 999_999}}})
				defer s.close()
				s.fe.env.Codecs[routing.EncodingAMQP] = headCodec{}
				payload := append([]byte(c.head), pattern(1_000_000-len(c.head), true)...)
				s.broker.InjectLarge(routing.Envelope{Address: routing.Queue("a"), Encoding: routing.EncodingAMQP, Priority: 7, Payload: payload}, 100)
				p := s.peer("")
				p.say(t, []byte(connect12+subscribeA+"\n\x00"))
				<-time.After(time.Second)
				got, _ := p.take()
				heads, bodies := messages(got)
				if c.want == "" {
					if len(heads) != 1 || s.broker.Depth(prototest.DeadLetters) != 1 {
						t.Errorf("got %q and %d dead letters, want it among them", heads, s.broker.Depth(prototest.DeadLetters))
					}
					return
				}
				if len(heads) != 2 || !strings.Contains(heads[1], "priority:7\n") || !strings.HasSuffix(heads[1], c.want[len("priority:7\n"):]) {
					t.Fatalf("got %q, want %q", heads, c.want)
				}
				if !bytes.Equal(bodies[1], payload[8:999_998]) {
					t.Errorf("got a body of %d octets, want those of the run", len(bodies[1]))
				}
			})
		})
	}
}

// headCodec is one whose body begins at the eighth octet and ends two octets before
// the end.
type headCodec struct{ plainCodec }

func (headCodec) DecodeHead(head []byte, size int64) (*routing.Message, protocols.Run, error) {
	if head[0] != '8' {
		return nil, protocols.Run{}, io.ErrUnexpectedEOF
	}
	return &routing.Message{Subject: "greeting", Priority: 7}, protocols.Run{Offset: 8, Length: size - 10}, nil
}

func (headCodec) EncodeHead(*routing.Message, int64) ([]byte, error) { return nil, io.ErrUnexpectedEOF }
