package stomp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gostomp "github.com/go-stomp/stomp/v3"
	gostompframe "github.com/go-stomp/stomp/v3/frame"
	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
	"github.com/selvedge-mq/selvedge/routing"
)

const connected12 = "CONNECT\naccept-version:1.2\n\n\x00"

// listen serves STOMP on loopback until the test ends.
func listen(tb testing.TB, broker routing.Broker) string {
	tb.Helper()
	fe, err := New(Options{Env: protocols.Env{Broker: broker, Auth: prototest.Users{}, Log: zerolog.Nop()}})
	if err != nil {
		tb.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed by the test
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { _ = fe.Serve(ctx, nc) })
		}
	})
	tb.Cleanup(func() {
		l.Close()
		cancel()
		wg.Wait()
	})
	return l.Addr().String()
}

func newBroker(tb testing.TB) *prototest.Broker {
	tb.Helper()
	b := prototest.New()
	tb.Cleanup(b.Close)
	return b
}

func dial(tb testing.TB, address string) *net.TCPConn {
	tb.Helper()
	nc, err := net.Dial("tcp", address) //nolint:noctx // loopback
	if err != nil {
		tb.Fatal(err)
	}
	if err := nc.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { nc.Close() })
	return nc.(*net.TCPConn) //nolint:forcetypeassert // dialed as tcp
}

func awaitSent(tb testing.TB, b *prototest.Broker, n int) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	defer cancel()
	if err := b.Await(ctx, func(r prototest.Record) bool { return len(r.Sent) >= n }); err != nil {
		tb.Fatalf("got %d messages, want %d: %v", len(b.Record().Sent), n, err)
	}
}

func TestGoStompSendsReceivesAndAcknowledges(t *testing.T) {
	broker := newBroker(t)
	address := listen(t, broker)
	c, err := gostomp.Dial("tcp", address, gostomp.ConnOpt.Login("bob", "secret"), gostomp.ConnOpt.HeartBeat(time.Second, time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if c.Version() != gostomp.V12 {
		t.Errorf("got version %s, want 1.2", c.Version())
	}
	// More than its queue of 16 messages and go-stomp waits for itself.
	sub, err := c.Subscribe("/queue/orders", gostomp.AckClientIndividual, gostomp.SubscribeOpt.Header("activemq.prefetchSize", "10"))
	if err != nil {
		t.Fatal(err)
	}
	const count = 500
	var sender sync.WaitGroup
	sender.Go(func() { // go-stomp reads no receipts while nobody takes its messages
		for i := range count {
			opts := []func(*gostompframe.Frame) error{gostomp.SendOpt.Header("n:o", strconv.Itoa(i))}
			if i%10 == 0 {
				opts = append(opts, gostomp.SendOpt.Receipt)
			}
			if err := c.Send("/queue/orders", "text/plain", fmt.Appendf(nil, "body\x00%d", i), opts...); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i := range count {
		m := <-sub.C
		if m.Err != nil {
			t.Fatal(m.Err)
		}
		if want := fmt.Sprintf("body\x00%d", i); string(m.Body) != want || m.Header.Get("n:o") != strconv.Itoa(i) {
			t.Fatalf("got %q %v, want %q", m.Body, m.Header, want)
		}
		if err := c.Ack(m); err != nil {
			t.Fatal(err)
		}
	}
	sender.Wait()
	// No Unsubscribe: go-stomp 3.1.5 loses its own wake-up when the RECEIPT comes
	// before it waits, and then waits 30 s. The scripts test UNSUBSCRIBE.
	if err := c.Disconnect(); err != nil {
		t.Error(err)
	}
	r := broker.Record()
	if len(r.Settled) != count || r.Opened[0].Principal.Name != "bob" {
		t.Errorf("got %d settled of %q, want %d of bob", len(r.Settled), r.Opened[0].Principal.Name, count)
	}
}

func TestSTOMP_Send_08_IsProcessedThoughTheClientLeavesAtOnce(t *testing.T) {
	broker := newBroker(t)
	nc := dial(t, listen(t, broker))
	const count = 10_000
	if _, err := io.WriteString(nc, connected12); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Read(make([]byte, 256)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(nc, strings.Repeat("SEND\ndestination:/queue/q\n\nx\x00", count)); err != nil {
		t.Fatal(err)
	}
	nc.Close()
	awaitSent(t, broker, count)
}

func TestSTOMP_Disconnect_05_HalfClosedClientGetsItsReceipts(t *testing.T) {
	broker := newBroker(t)
	nc := dial(t, listen(t, broker))
	var frames strings.Builder
	frames.WriteString(connected12)
	const count = 5000
	for i := range count {
		fmt.Fprintf(&frames, "SEND\ndestination:/queue/q\nreceipt:%d\n\nx\x00\n", i)
	}
	go func() {
		_, _ = io.WriteString(nc, frames.String()) // a failure shows in the count
		_ = nc.CloseWrite()
	}()
	got, err := io.ReadAll(nc)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(got, []byte("RECEIPT\n")); n != count {
		t.Errorf("got %d receipts, want %d", n, count)
	}
	if want := fmt.Sprintf("receipt-id:%d\n\n\x00\n", count-1); !bytes.HasSuffix(got, []byte(want)) {
		t.Errorf("got %q at the end, want %q", got[max(0, len(got)-40):], want)
	}
}

func TestSTOMP_Disconnect_04_ErrorIsReadThoughTheClientStillSends(t *testing.T) {
	nc := dial(t, listen(t, newBroker(t)))
	if _, err := io.WriteString(nc, connected12+"NONSENSE\n\n\x00"+strings.Repeat("SEND\n\n\x00", 2000)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(nc)
	if err != nil || !bytes.Contains(got, []byte("message:Unknown STOMP action\\c NONSENSE\n")) {
		t.Errorf("got %q and %v, want the ERROR frame", got, err)
	}
}

func TestSTOMP_Disconnect_07_ConnectionsThatComeAndGoLeaveNothingBehind(t *testing.T) {
	broker := newBroker(t)
	address := listen(t, broker)
	for range 2000 {
		nc := dial(t, address)
		if _, err := io.WriteString(nc, connected12+"SUBSCRIBE\nid:1\ndestination:/queue/q\n\n\x00DISCONNECT\nreceipt:d\n\n\x00"); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(nc); err != nil || !bytes.Contains(got, []byte("receipt-id:d")) {
			t.Fatalf("got %q and %v", got, err)
		}
		nc.Close()
	}
	if r := broker.Record(); r.Sessions != 0 || r.Subscriptions != 0 {
		t.Errorf("got %d sessions and %d subscriptions, want none", r.Sessions, r.Subscriptions)
	}
}

func TestSTOMP_Framing_17_TLSOnAClearPortIsClosedWithoutAFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, protocols.Limits{}, prototest.Users{})
		defer s.close()
		p := s.peer("")
		if _, err := p.nc.Write([]byte{0x16, 3, 1}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got, closed := p.take(); got != "" || !closed {
			t.Errorf("got %q, closed %v, want a silent end", got, closed)
		}
	})
}

func TestAClientThatSendsFasterThanConfirmedWaits(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits protocols.Limits
		full   bool
		want   int
	}{
		{"at the limit of sends", protocols.Limits{InFlight: 10}, false, 10},
		{"at the limit of bytes", protocols.Limits{InFlightBytes: 100}, false, 5},
		{"when the session is full", protocols.Limits{}, true, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, c.limits, prototest.Users{})
				defer s.close()
				p := s.peer("")
				s.broker.Hold()
				s.broker.SetFull(c.full)
				go func() {
					_, _ = io.WriteString(p.nc, connected12+strings.Repeat("SEND\ndestination:q\n\n123456\x00", 1000))
				}()
				synctest.Wait()
				if got := s.broker.Record().Held; got != c.want {
					t.Errorf("got %d sends under way, want %d", got, c.want)
				}
				s.broker.SetFull(false)
				s.broker.Release()
				synctest.Wait()
				if got := len(s.broker.Record().Sent); got != 1000 {
					t.Errorf("got %d sends in the end, want 1000", got)
				}
			})
		})
	}
}

func TestAClientThatStopsReadingCostsItsPrefetchOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, protocols.Limits{Prefetch: 50}, prototest.Users{})
		defer s.close()
		client, server := net.Pipe()
		s.wg.Go(func() { _ = s.fe.Serve(s.ctx, server) })
		if _, err := io.WriteString(client, connected12); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Read(make([]byte, 512)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(client, "SUBSCRIBE\nid:1\ndestination:/queue/q\n\n\x00"); err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			s.broker.Inject(routing.Envelope{
				Address: routing.Queue("q"), Encoding: routing.EncodingSTOMP,
				Payload: []byte("destination:/queue/q\n\n" + strings.Repeat("x", 8000)),
			})
		}
		synctest.Wait()
		if got := 1000 - s.broker.Depth(routing.Queue("q")); got != 50 {
			t.Errorf("got %d messages handed out, want 50", got)
		}
		if got := len(s.broker.Record().Settled); got != 0 {
			t.Errorf("got %d messages settled that nobody has read, want none", got)
		}
		n := 0
		buf := make([]byte, 1<<20)
		for n < 1000 {
			k, err := client.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			n += bytes.Count(buf[:k], []byte("MESSAGE\n"))
		}
		client.Close()
	})
}

func TestSTOMP_Subscribe_11_GivesBackWhatIsNotOnItsWay(t *testing.T) {
	for _, c := range []struct {
		name, mode string
	}{
		{"auto: what was written is consumed", "auto"},
		{"client: everything goes back", "client"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, protocols.Limits{Prefetch: 50}, prototest.Users{})
				defer s.close()
				for range 100 {
					s.broker.Inject(routing.Envelope{
						Address: routing.Queue("q"), Encoding: routing.EncodingSTOMP,
						Payload: []byte("destination:/queue/q\n\n" + strings.Repeat("x", 8000)),
					})
				}
				client, server := net.Pipe()
				s.wg.Go(func() { _ = s.fe.Serve(s.ctx, server) })
				if _, err := io.WriteString(client, connected12); err != nil {
					t.Fatal(err)
				}
				if _, err := client.Read(make([]byte, 512)); err != nil {
					t.Fatal(err)
				}
				if _, err := io.WriteString(client, "SUBSCRIBE\nid:1\ndestination:/queue/q\nack:"+c.mode+"\n\n\x00"); err != nil {
					t.Fatal(err)
				}
				synctest.Wait() // the writer is stuck, the rest is in the backlog
				if _, err := io.WriteString(client, "UNSUBSCRIBE\nid:1\nreceipt:u\n\n\x00DISCONNECT\n\n\x00"); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				got, err := io.ReadAll(client)
				if err != nil {
					t.Fatal(err)
				}
				before, after, found := bytes.Cut(got, []byte("RECEIPT\nreceipt-id:u\n"))
				n := bytes.Count(before, []byte("MESSAGE\n"))
				if !found || n == 0 || bytes.Contains(after, []byte("MESSAGE\n")) {
					t.Errorf("got receipt %v, %d messages before it and %q after it", found, n, after)
				}
				want := 100
				if c.mode == "auto" {
					want -= n
				}
				if left := s.broker.Depth(routing.Queue("q")); left != want {
					t.Errorf("got %d messages left after %d were seen, want %d", left, n, want)
				}
			})
		})
	}
}

// halfPipe is a pipe that can be half-closed, as far as the front-end asks.
type halfPipe struct{ net.Conn }

func (halfPipe) CloseWrite() error { return nil }

func TestAnIdleConnectionGivesItsBufferBackAndGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, protocols.Limits{}, prototest.Users{})
		defer s.close()
		client, server := net.Pipe()
		p := newPeer(client)
		s.peers[""] = p
		s.wg.Go(func() { _ = s.fe.Serve(s.ctx, halfPipe{server}) })
		send := func(text string) string {
			if _, err := io.WriteString(client, text); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			got, _ := p.take()
			return got
		}
		send(connected12)
		for range 3 {
			send(strings.Repeat("SEND\ndestination:q\n\n123456\x00", 1000))
			<-time.After(time.Minute)
			if got := send("SEND\ndestination:q\nreceipt:1\n\n\x00"); !strings.Contains(got, "receipt-id:1") {
				t.Fatalf("got %q after a pause, want a receipt", got)
			}
		}
	})
}

// A connection that closes while octets wait unread takes with it what its client has not
// read yet. A node that had dropped so many octets closed at once, so that a client that
// floods lost the ERROR behind the messages that were on their way.
func TestSTOMP_Disconnect_04_AFloodDoesNotEndTheLingering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, protocols.Limits{}, prototest.Users{})
		defer s.close()
		client, server := net.Pipe()
		p := newPeer(client)
		s.peers[""] = p
		s.wg.Go(func() { _ = s.fe.Serve(s.ctx, halfPipe{server}) })
		flood := connected12 + "NONSENSE\n\n\x00" + strings.Repeat("SEND\n\n"+strings.Repeat("x", 1000)+"\x00", 2*lingerBytes/1000)
		begin := time.Now()
		n, err := io.WriteString(client, flood)
		if took := time.Since(begin); err == nil || n < lingerBytes || took < lingerTime {
			t.Errorf("got an end after %d octets and %v (%v), want it after %v", n, took, err, lingerTime)
		}
		if got, _ := p.take(); !strings.Contains(got, "ERROR\n") {
			t.Errorf("got %q, want the ERROR frame", got)
		}
	})
}
