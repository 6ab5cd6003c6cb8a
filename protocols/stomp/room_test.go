package stomp

import (
	"fmt"
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

// A prefetch bounds messages, which may be of any size: a client that read nothing held
// the prefetch times their size in memory, 1 GB where they had 1 MB.
func TestAClientThatStopsReadingCostsABoundedMemory(t *testing.T) {
	const count, size, room = 1000, 8000, 1 << 20
	for _, ack := range []string{"auto", "client-individual"} {
		t.Run(ack, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, protocols.Limits{InFlightBytes: room}, prototest.Users{})
				defer s.close()
				for i := range count {
					s.broker.Inject(routing.Envelope{
						Address: routing.Queue("q"), Encoding: routing.EncodingSTOMP,
						Payload: fmt.Appendf(nil, "destination:/queue/q\nn:%d\n\n%s", i, strings.Repeat("x", size)),
					})
				}
				client := converse(t, s, connected12, "SUBSCRIBE\nid:1\ndestination:/queue/q\nack:"+ack+"\n\n\x00")
				defer client.Close()
				synctest.Wait()
				most := room/size + 2*(outHigh/size+1) // what is encoded, and what is being written
				if got := count - s.broker.Depth(routing.Queue("q")); got > most || got < most/2 {
					t.Errorf("got %d messages held for a client that reads nothing, want about %d", got, most)
				}
				inOrder(t, client, count)
			})
		})
	}
}

// inOrder reads so many messages, numbered from 0, each for the first time.
func inOrder(t *testing.T, client net.Conn, count int) {
	t.Helper()
	got, next := "", 0
	buf := make([]byte, 100_000)
	for next < count {
		_ = client.SetReadDeadline(time.Now().Add(time.Minute))
		n, err := client.Read(buf)
		if err != nil {
			t.Fatalf("got %v behind %d messages", err, next)
		}
		got += string(buf[:n])
		for {
			f, rest, whole := strings.Cut(got, "\x00\n")
			if !whole {
				break
			}
			got = rest
			if !strings.Contains(f, fmt.Sprintf("\nn:%d\n", next)) || strings.Contains(f, "redelivered") {
				t.Fatalf("got %.200q, want the message %d for the first time", f, next)
			}
			next++
		}
	}
}

// Several subscriptions share the room, and each of them goes on.
func TestSubscriptionsShareTheRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const count, size, room = 300, 8000, 1 << 20
		s := newStage(t, protocols.Limits{InFlightBytes: room}, prototest.Users{})
		defer s.close()
		var text strings.Builder
		for q := range 3 {
			for range count {
				s.broker.Inject(routing.Envelope{
					Address: routing.Queue(fmt.Sprint(q)), Encoding: routing.EncodingSTOMP,
					Payload: []byte("destination:/queue/q\n\n" + strings.Repeat("x", size)),
				})
			}
			fmt.Fprintf(&text, "SUBSCRIBE\nid:%d\ndestination:/queue/%d\n\n\x00", q, q)
		}
		client := converse(t, s, connected12, text.String())
		<-time.After(time.Second)
		held := 3 * count
		for q := range 3 {
			held -= s.broker.Depth(routing.Queue(fmt.Sprint(q)))
		}
		if most := room/size + 2*(outHigh/size+1) + 3; held > most {
			t.Errorf("got %d messages held for a client that reads nothing, want at most %d", held, most)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = io.Copy(io.Discard, client)
		}()
		<-time.After(time.Second)
		for q := range 3 {
			if left := s.broker.Depth(routing.Queue(fmt.Sprint(q))); left != 0 {
				t.Errorf("got %d messages left of queue %d, want none", left, q)
			}
		}
		client.Close()
		<-ended
	})
}
