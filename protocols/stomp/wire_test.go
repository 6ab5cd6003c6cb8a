package stomp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/selvedge-mq/selvedge/internal/metrictest"
	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
	"github.com/selvedge-mq/selvedge/routing"
)

// certified admits everyone whose connection says who it is.
type certified struct{ prototest.Users }

func (certified) Mechanisms(context.Context, net.Addr) []string { return []string{"EXTERNAL", "PLAIN"} }

func (c certified) Authenticate(ctx context.Context, cr protocols.Credentials) (routing.Principal, error) {
	if cr.Mechanism == "EXTERNAL" {
		return routing.Principal{Name: "carol"}, nil
	}
	return c.Users.Authenticate(ctx, cr)
}

func TestSTOMP_Connect_15_ACertificateStandsForTheLogin(t *testing.T) {
	for _, c := range []struct{ name, login, want string }{
		{"without a login", "", "carol"},
		{"a login comes first", "login:alice\npasscode:secret\n", "alice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, protocols.Limits{}, certified{prototest.Users{"alice": "secret"}})
				defer s.close()
				if _, err := io.WriteString(s.peer("").nc, "CONNECT\n"+c.login+"\n\x00SEND\ndestination:/queue/q\nuser-id:"+c.want+"\n\n\x00"); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				r := s.broker.Record()
				if opened := r.Opened; len(opened) != 1 || opened[0].Principal.Name != c.want {
					t.Errorf("got %+v, want a session of %s", opened, c.want)
				}
				if len(r.Sent) != 1 || !bytes.Contains(r.Sent[0].Payload, []byte("user-id:"+c.want+"\n")) {
					t.Errorf("got %+v, want a message with its sender's own name", r.Sent)
				}
			})
		})
	}
}

func TestSTOMP_HeartBeat_02_TheGreaterWishOrNone(t *testing.T) {
	for _, a := range []int64{0, 500, 10000} {
		for _, b := range []int64{0, 500, 10000} {
			want := time.Duration(max(a, b)) * time.Millisecond
			if a == 0 || b == 0 {
				want = 0
			}
			if got := interval(a, b); got != want {
				t.Errorf("%d and %d: got %v, want %v", a, b, got, want)
			}
		}
	}
}

// converse connects and sends, and returns the client's end with the answer to
// CONNECT read.
func converse(t *testing.T, s *stage, connect, text string) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	s.wg.Go(func() { _ = s.fe.Serve(s.ctx, server) })
	if _, err := io.WriteString(client, connect); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(make([]byte, 512)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(client, text); err != nil {
		t.Fatal(err)
	}
	return client
}

func inject(s *stage, count, size int) {
	for range count {
		s.broker.Inject(routing.Envelope{
			Address: routing.Queue("q"), Encoding: routing.EncodingSTOMP,
			Payload: []byte("destination:/queue/q\n\n" + strings.Repeat("x", size)),
		})
	}
}

func TestSTOMP_HeartBeat_12_NeverInsideAFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, protocols.Limits{}, prototest.Users{})
		defer s.close()
		const size = 40_000
		inject(s, 1, size)
		client := converse(t, s, "CONNECT\naccept-version:1.2\nheart-beat:0,500\n\n\x00", "SUBSCRIBE\nid:1\ndestination:/queue/q\n\n\x00")
		defer client.Close()
		var got []byte
		buf := make([]byte, 1000)
		for len(got) < size+1000 { // far slower than the beats
			<-time.After(400 * time.Millisecond)
			n, err := client.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, buf[:n]...)
		}
		if !bytes.Contains(got, []byte("\n\n"+strings.Repeat("x", size)+"\x00\n")) {
			t.Error("the body does not come in one piece")
		}
		if _, beats, _ := bytes.Cut(got, []byte{0}); len(bytes.Trim(beats, "\n")) > 0 || len(beats) < 2 {
			t.Errorf("got %q behind the frame, want heart-beats", beats)
		}
	})
}

func TestSTOMP_Error_06_OvertakesMessagesThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, protocols.Limits{Prefetch: 50}, prototest.Users{})
		defer s.close()
		inject(s, 50, 8000)
		client := converse(t, s, connected12, "SUBSCRIBE\nid:1\ndestination:/queue/q\nack:client\n\n\x00")
		synctest.Wait() // the writer is stuck
		if _, err := io.WriteString(client, "BOGUS\n\n\x00"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the owner has judged it: until then it goes on with whatever is ready first
		got, err := io.ReadAll(client)
		if err != nil {
			t.Fatal(err)
		}
		messages := 0
		var last []byte
		for head, body := range frame.Heads(got) {
			if last = head; bytes.HasPrefix(head, []byte("MESSAGE")) {
				messages++
				if len(body) != 8000 {
					t.Errorf("got a body of %d octets, want 8000", len(body))
				}
			}
		}
		if messages == 0 || messages > 30 || !bytes.HasPrefix(last, []byte("ERROR")) {
			t.Errorf("got %d messages, and at the end %q, want some and then ERROR", messages, last)
		}
		if left := s.broker.Depth(routing.Queue("q")); left != 50 {
			t.Errorf("got %d messages back, want all 50", left)
		}
	})
}

// recorded is a connection without half-close that keeps what was written, message
// by message, as a WebSocket's adapter sees it.
type recorded struct {
	net.Conn
	mu     sync.Mutex
	writes [][]byte
}

func (r *recorded) WriteMessage(p []byte) error {
	r.mu.Lock()
	r.writes = append(r.writes, bytes.Clone(p))
	r.mu.Unlock()
	_, err := r.Write(p)
	return err
}

func (r *recorded) BeginMessage() (io.WriteCloser, error) { return &recording{r: r}, nil }

// recording is a message that is written in pieces.
type recording struct {
	r *recorded
	p []byte
}

func (w *recording) Write(p []byte) (int, error) {
	w.p = append(w.p, p...)
	return w.r.Write(p)
}

func (w *recording) Close() error {
	w.r.mu.Lock()
	w.r.writes = append(w.r.writes, w.p)
	w.r.mu.Unlock()
	return nil
}

func TestSTOMP_WebSocket_01_SubprotocolsBestFirst(t *testing.T) {
	if diff := cmp.Diff([]string{"v12.stomp", "v11.stomp", "v10.stomp"}, Subprotocols()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Frames were written as they came together, up to 64 KiB in one message; clients
// in Java read 8 KiB of text by default.
func TestSTOMP_WebSocket_04_AMessageIsOneFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, protocols.Limits{}, prototest.Users{})
		defer s.close()
		client, server := net.Pipe()
		r := &recorded{Conn: server}
		p := newPeer(client)
		s.peers[""] = p
		s.wg.Go(func() { _ = s.fe.Serve(s.ctx, r) })
		inject(s, 39, 7000)
		inject(s, 1, 100_000)
		if _, err := io.WriteString(client, "CONNECT\naccept-version:1.2\nheart-beat:0,1000\n\n\x00SUBSCRIBE\nid:1\ndestination:/queue/q\n\n\x00"); err != nil {
			t.Fatal(err)
		}
		<-time.After(5 * time.Second)
		if _, err := io.WriteString(client, "BOGUS\n\n\x00"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.mu.Lock()
		defer r.mu.Unlock()
		frames, beats := 0, 0
		for _, w := range r.writes {
			rest := len(bytes.Trim(w, "\n"))
			if rest == 0 {
				beats++
				if len(w) != 1 {
					t.Errorf("got %d line ends in a message, want one as heart-beat", len(w))
				}
			}
			n := 0
			for head, body := range frame.Heads(w) {
				n++
				rest -= len(head) + 2 + len(body) + 2 // the empty line, NUL and LF
			}
			if rest > 0 || n > 1 {
				t.Errorf("a message has %d frames and %d octets that are no whole frame", n, rest)
			}
			frames += n
		}
		if frames != 42 || beats < 4 {
			t.Errorf("got %d frames and %d heart-beats, want 42 and at least 4", frames, beats)
		}
	})
}

func TestSTOMP_Limit_02_AnIdleConnectionIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		s := newStageOf(t, Options{Env: protocols.Env{Auth: prototest.Users{}, Metrics: registry}, Limits: Limits{Idle: time.Minute}})
		defer s.close()
		got := s.script("> CONNECT\n> \n> ^@\n! wait 50s\n> \n! wait 50s\n! inject queue://q hello\n> SUBSCRIBE\n> destination:/queue/q\n> \n> ^@\n! wait 59s\n! wait 2s\n")
		if strings.Count(got, "= closed") != 1 || !strings.Contains(got, "! wait 2s\n= closed") || strings.Contains(got, "ERROR") {
			t.Errorf("got %s, want the end after a minute without an octet", got)
		}
		if n := metrictest.Value(t, registry, silentConnections, "idle"); n != 1 {
			t.Errorf("got %v idle connections counted, want 1", n)
		}
	})
}

const silentConnections = "selvedge_stomp_silent_connections_total"

// Only the log of level debug told of clients that were closed because they were silent.
func TestSilentConnectionsAreCountedByTheirCause(t *testing.T) {
	for _, tt := range []struct{ cause, script string }{
		{"login", "> \n! wait 31s\n"},
		{"heart-beat", "> CONNECT\n> accept-version:1.2\n> heart-beat:1000,0\n> \n> ^@\n! wait 10s\n"},
	} {
		synctest.Test(t, func(t *testing.T) {
			registry := prometheus.NewRegistry()
			s := newStageOf(t, Options{Env: protocols.Env{Auth: prototest.Users{}, Metrics: registry, Limits: protocols.Limits{LoginTimeout: 30 * time.Second}}})
			defer s.close()
			s.script(tt.script)
			if n, all := metrictest.Value(t, registry, silentConnections, tt.cause), metrictest.Value(t, registry, silentConnections); n != 1 || all != 1 {
				t.Errorf("%s: got %v of %v connections counted, want 1 of 1", tt.cause, n, all)
			}
		})
	}
}

// A client that stopped, and does not know of heart-beats, kept its messages for
// ever: the write to it waited without an end.
func TestSTOMP_Limit_05_AClientThatReadsNothingLosesItsMessages(t *testing.T) {
	for _, kind := range []string{"stream", "messages"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				registry := prometheus.NewRegistry()
				s := newStageOf(t, Options{Env: protocols.Env{Auth: prototest.Users{}, Metrics: registry}, Limits: Limits{Write: time.Minute}})
				defer s.close()
				inject(s, 50, 8000)
				client, server := net.Pipe()
				defer client.Close()
				s.wg.Go(func() {
					if kind == "stream" {
						_ = s.fe.Serve(s.ctx, server)
					} else {
						_ = s.fe.Serve(s.ctx, &recorded{Conn: server})
					}
				})
				if _, err := io.WriteString(client, connected12+"SUBSCRIBE\nid:1\ndestination:/queue/q\nack:client\n\n\x00"); err != nil {
					t.Fatal(err)
				}
				for range 3 { // slowly is good enough
					<-time.After(50 * time.Second)
					if _, err := io.CopyN(io.Discard, client, writePiece+1000); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				if left := s.broker.Depth(routing.Queue("q")); left != 0 {
					t.Errorf("got %d messages back while the client read, want none", left)
				}
				<-time.After(time.Minute + mutedTime + time.Second)
				synctest.Wait()
				if r := s.broker.Record(); r.Sessions != 0 || s.broker.Depth(routing.Queue("q")) != 50 {
					t.Errorf("got %d sessions and %d messages back, want the end and all 50", r.Sessions, s.broker.Depth(routing.Queue("q")))
				}
				if n := metrictest.Value(t, registry, silentConnections, "read"); n != 1 {
					t.Errorf("got %v deaf connections counted, want 1", n)
				}
			})
		})
	}
}

// A client whose host has gone while it is written to is found by its heart-beats: the
// write that waits holds nothing up.
func TestSTOMP_HeartBeating_FindsAClientThatVanishesWhileItIsWrittenTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, protocols.Limits{}, prototest.Users{})
		defer s.close()
		inject(s, 50, 8000)
		client, server := net.Pipe()
		defer client.Close()
		s.wg.Go(func() { _ = s.fe.Serve(s.ctx, server) })
		if _, err := io.WriteString(client, "CONNECT\naccept-version:1.2\nheart-beat:10000,0\n\n\x00SUBSCRIBE\nid:1\ndestination:/queue/q\nack:client\n\n\x00"); err != nil {
			t.Fatal(err)
		}
		<-time.After(20 * time.Second)
		synctest.Wait()
		if left := s.broker.Depth(routing.Queue("q")); left == 50 {
			t.Error("got all messages back before two intervals were over")
		}
		<-time.After(time.Second + closeTime + mutedTime)
		synctest.Wait()
		if r := s.broker.Record(); r.Sessions != 0 || s.broker.Depth(routing.Queue("q")) != 50 {
			t.Errorf("got %d sessions and %d messages back, want the end and all 50", r.Sessions, s.broker.Depth(routing.Queue("q")))
		}
	})
}

// A client that dies loses what was on the wire, and nothing that waited.
func TestAnAutoSubscriptionConsumesWhatIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, protocols.Limits{Prefetch: 50}, prototest.Users{})
		defer s.close()
		inject(s, 100, 8000)
		client := converse(t, s, connected12, "SUBSCRIBE\nid:1\ndestination:/queue/q\n\n\x00")
		synctest.Wait() // the writer is stuck in its first write
		if r := s.broker.Record(); len(r.Settled) != 0 {
			t.Errorf("got %d settled before anything was read, want none", len(r.Settled))
		}
		if _, err := io.CopyN(io.Discard, client, 100_000); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		client.Close()
		synctest.Wait()
		consumed := 0
		for _, x := range s.broker.Record().Settled {
			if x.Outcome.Kind == routing.Accepted {
				consumed++
			}
		}
		if left := s.broker.Depth(routing.Queue("q")); consumed == 0 || consumed > 13 || left != 100-consumed {
			t.Errorf("got %d consumed and %d left of 100, when about 12 were read", consumed, left)
		}
	})
}

// A client may read its message and go, without a word.
func TestAnAutoSubscriptionConsumesWhatWasReadLast(t *testing.T) {
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t, protocols.Limits{}, prototest.Users{})
			defer s.close()
			client := converse(t, s, connected12, "SUBSCRIBE\nid:1\ndestination:/queue/q\n\n\x00")
			synctest.Wait()
			inject(s, 1, 100)
			got := make([]byte, 512)
			for n := 0; !bytes.HasSuffix(got[:n], []byte("\x00\n")); {
				k, err := client.Read(got[n:])
				if err != nil {
					t.Fatal(err)
				}
				n += k
			}
			client.Close()
			synctest.Wait()
			if left := s.broker.Depth(routing.Queue("q")); left != 0 {
				t.Fatalf("got %d messages back that were read, want none", left)
			}
		})
	}
}

func TestSTOMP_Limit_04_TheCreditOfAConnectionIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, protocols.Limits{}, prototest.Users{})
		defer s.close()
		var text strings.Builder
		text.WriteString("> CONNECT\n> \n> ^@\n")
		for range 3 {
			for i := range 20 {
				fmt.Fprintf(&text, "> SUBSCRIBE\n> id:%d\n> destination:/queue/q\n> prefetch-count:0\n> \n> ^@\n", i)
			}
			text.WriteString("! wait 1ms\n")
			for i := range 20 {
				fmt.Fprintf(&text, "> UNSUBSCRIBE\n> id:%d\n> \n> ^@\n", i)
			}
		}
		if got := s.script(text.String()); strings.Contains(got, "ERROR") {
			t.Fatalf("got %s", got)
		}
		if got, want := s.broker.Record().Granted, int64(3*(mostCredit+4)); got != want {
			t.Errorf("got a credit of %d, want %d: the limit, and a message each for those beyond it", got, want)
		}
	})
}
