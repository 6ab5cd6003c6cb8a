package stomp

import (
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
	"github.com/selvedge-mq/selvedge/routing"
)

const beating12 = "CONNECT\naccept-version:1.2\nheart-beat:1000,1000\n\n\x00"

// While the last confirmations were waited for, the node was silent: a client with
// heart-beats took it for dead.
func TestSTOMP_HeartBeat_03_GoesOnWhileTheConnectionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, protocols.Limits{}, prototest.Users{})
		defer s.close()
		p := s.peer("")
		s.broker.Hold()
		p.say(t, []byte(beating12+"SEND\ndestination:/queue/q\n\nx\x00DISCONNECT\nreceipt:d\n\n\x00"))
		synctest.Wait()
		p.take()
		<-time.After(5 * time.Second)
		if got, _ := p.take(); strings.Trim(got, "\n") != "" || len(got) < 5 {
			t.Errorf("got %q in five seconds, want a heart-beat each second", got)
		}
		s.broker.Release()
		synctest.Wait()
		if got, closed := p.take(); !strings.Contains(got, "RECEIPT\nreceipt-id:d\n") || !closed {
			t.Errorf("got %q, closed %v, want RECEIPT and the end", got, closed)
		}
	})
}

// Towards a client that reads no more a heart-beat was due at once, again and again: the
// connection kept a processor busy until it ended.
func TestSTOMP_HeartBeat_03_NoneIsDueToWhoReadsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, protocols.Limits{InFlight: 1}, prototest.Users{})
		defer s.close()
		s.broker.Hold()
		frames := beating12 + strings.Repeat("SEND\ndestination:/queue/q\nreceipt:r\n\nx\x00", 3)
		s.wg.Go(func() { _ = s.fe.Serve(s.ctx, &resetClient{in: strings.NewReader(frames)}) })
		for range 3 {
			<-time.After(2 * time.Second)
			s.broker.Release()
			s.broker.Hold()
		}
		s.broker.Release()
		synctest.Wait()
		if got := len(s.broker.Record().Sent); got != 3 {
			t.Errorf("got %d messages, want 3", got)
		}
	})
}

// accepted counts the messages that were consumed.
func accepted(s *stage) (n int) {
	for _, x := range s.broker.Record().Settled {
		if x.Outcome.Kind == routing.Accepted {
			n++
		}
	}
	return n
}

// What is encoded for a client that reads nothing goes back, whatever the node had to say
// at the end.
func TestAnAutoSubscriptionConsumesNothingThatIsNotWritten(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(t *testing.T, s *stage, client net.Conn)
	}{
		{"the node stops", func(_ *testing.T, s *stage, _ net.Conn) { s.cancel(protocols.ErrDraining) }},
		{"a frame is refused", func(t *testing.T, _ *stage, client net.Conn) {
			t.Helper()
			if _, err := io.WriteString(client, "BOGUS\n\n\x00"); err != nil {
				t.Error(err)
			}
		}},
		{"a request fails", func(t *testing.T, s *stage, client net.Conn) {
			t.Helper()
			s.broker.Fail("send", routing.Queue("full"), &routing.Error{Code: routing.CodeFull})
			if _, err := io.WriteString(client, "SEND\ndestination:/queue/full\n\nx\x00"); err != nil {
				t.Error(err)
			}
		}},
		{"another connection takes over", func(t *testing.T, s *stage, _ net.Conn) {
			t.Helper()
			s.peer("2").say(t, []byte("CONNECT\naccept-version:1.2\nclient-id:c\n\n\x00"))
		}},
		{"the client takes its leave", func(t *testing.T, _ *stage, client net.Conn) {
			t.Helper()
			if _, err := io.WriteString(client, "DISCONNECT\nreceipt:d\n\n\x00"); err != nil {
				t.Error(err)
			}
		}},
		{"the client unsubscribes, and is lost", func(t *testing.T, _ *stage, client net.Conn) {
			t.Helper()
			if _, err := io.WriteString(client, "UNSUBSCRIBE\nid:1\nreceipt:u\n\n\x00"); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			client.Close()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, protocols.Limits{Prefetch: 50}, prototest.Users{})
				defer s.close()
				inject(s, 50, 8000)
				client := converse(t, s, "CONNECT\naccept-version:1.2\nclient-id:c\n\n\x00", "SUBSCRIBE\nid:1\ndestination:/queue/q\n\n\x00")
				defer client.Close()
				synctest.Wait() // the writer is stuck, and as much is encoded again
				c.end(t, s, client)
				<-time.After(time.Minute)
				synctest.Wait()
				if left := s.broker.Depth(routing.Queue("q")); accepted(s) != 0 || left != 50 {
					t.Errorf("got %d consumed and %d back, want none and all 50", accepted(s), left)
				}
			})
		})
	}
}

// The time to write the last frames was two seconds, whatever there was to write and
// however well the client read: one on a slow line lost the RECEIPT of its DISCONNECT, and
// the messages before it came again.
func TestSTOMP_Disconnect_01_ASlowReaderGetsItsReceipt(t *testing.T) {
	for _, kind := range []string{"stream", "messages"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, protocols.Limits{}, prototest.Users{})
				defer s.close()
				const size = 1 << 20
				inject(s, 1, size)
				client, server := net.Pipe()
				defer client.Close()
				s.wg.Go(func() {
					if kind == "stream" {
						_ = s.fe.Serve(s.ctx, server)
					} else {
						_ = s.fe.Serve(s.ctx, &recorded{Conn: server})
					}
				})
				if _, err := io.WriteString(client, connected12); err != nil {
					t.Fatal(err)
				}
				if _, err := client.Read(make([]byte, 512)); err != nil {
					t.Fatal(err)
				}
				if _, err := io.WriteString(client, "SUBSCRIBE\nid:1\ndestination:/queue/q\n\n\x00"); err != nil {
					t.Fatal(err)
				}
				synctest.Wait() // the message is on its way
				if _, err := io.WriteString(client, "DISCONNECT\nreceipt:d\n\n\x00"); err != nil {
					t.Fatal(err)
				}
				var got []byte
				for buf := make([]byte, writePiece); ; { // 64 KiB a second
					n, err := client.Read(buf)
					got = append(got, buf[:n]...)
					if err != nil {
						break
					}
					if n == 0 || len(got)%writePiece < n {
						<-time.After(time.Second)
					}
				}
				if want := strings.Repeat("x", size) + "\x00\nRECEIPT\nreceipt-id:d\n\n\x00\n"; !strings.HasSuffix(string(got), want) {
					t.Errorf("got %d octets and %q at the end, want the message and the RECEIPT", len(got), got[max(0, len(got)-60):])
				}
				if accepted(s) != 1 {
					t.Errorf("got %d consumed, want 1", accepted(s))
				}
			})
		})
	}
}
