package stomp

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
)

// resetClient is a client that has sent everything and was reset: its octets are
// in the kernel, and from the second write on it takes nothing.
type resetClient struct {
	net.Conn

	mu       sync.Mutex
	in       io.Reader
	deadline time.Time
	writes   int
}

func (c *resetClient) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.deadline.IsZero() && !time.Now().Before(c.deadline) {
		return 0, os.ErrDeadlineExceeded
	}
	return c.in.Read(p)
}

func (c *resetClient) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writes++; c.writes > 1 {
		return 0, errors.New("connection reset by peer")
	}
	return len(p), nil
}

func (c *resetClient) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	return nil
}

func (*resetClient) SetWriteDeadline(time.Time) error { return nil }
func (*resetClient) RemoteAddr() net.Addr             { return nil }
func (*resetClient) Close() error                     { return nil }

// What a client has sent is processed though it reads no more, however slowly the
// broker confirms. The time for it was once counted from the failed write on: a
// broker that took longer to confirm lost what was still to be read.
func TestSTOMP_Send_08_IsProcessedHoweverSlowlyTheBrokerConfirms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const count = 5000
		s := newStage(t, protocols.Limits{InFlight: 100}, prototest.Users{})
		defer s.close()
		s.broker.Hold()
		frames := connected12 + strings.Repeat("SEND\ndestination:/queue/q\nreceipt:r\n\nx\x00", count)
		s.wg.Go(func() { _ = s.fe.Serve(s.ctx, &resetClient{in: strings.NewReader(frames)}) })
		for len(s.broker.Record().Sent) < count/2 {
			synctest.Wait()
			if s.broker.Record().Held == 0 {
				break
			}
			s.broker.Release()
			s.broker.Hold()
			<-time.After(2 * time.Second)
		}
		s.broker.Release()
		synctest.Wait()
		if got := len(s.broker.Record().Sent); got != count {
			t.Errorf("got %d messages, want %d", got, count)
		}
	})
}
