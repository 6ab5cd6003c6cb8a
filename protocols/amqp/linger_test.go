package amqp

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// halfPipe is a pipe that can be half-closed, as far as the front-end asks.
type halfPipe struct{ net.Conn }

func (halfPipe) CloseWrite() error { return nil }

// A node closed at once when it had dropped so many bytes of a refused client, which
// destroyed the answer that the client had not read yet.
func TestAFloodDoesNotEndTheLingering(t *testing.T) {
	for _, c := range []struct {
		name   string
		bytes  int
		hangUp bool
		want   time.Duration
	}{
		{"a flood", 2 * bufferSize, false, lingerTime},
		{"silence", 10, false, lingerTime},
		{"its end", 10, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				defer client.Close()
				go func() {
					_, _ = client.Write(make([]byte, c.bytes)) // ends with the pipe
					if c.hangUp {
						client.Close()
					}
				}()
				begin := time.Now()
				linger(halfPipe{server})
				if took := time.Since(begin); took != c.want {
					t.Errorf("got %v, want %v", took, c.want)
				}
				server.Close()
			})
		})
	}
}
