package harness

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// Ports are reserved from a range below the one that the kernel takes the ports
// of outgoing connections from: a node that restarts finds its port free.
const (
	firstPort = 20000
	lastPort  = 31999
)

var reserved = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

// Addr reserves a loopback address that nobody listens on.
func Addr(t *testing.T) string {
	t.Helper()
	reserved.Lock()
	defer reserved.Unlock()
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if reserved.ports[port] {
			continue
		}
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", addr)
		if err != nil {
			continue
		}
		_ = l.Close()
		reserved.ports[port] = true
		return addr
	}
	t.Fatal("no free port on loopback")
	return ""
}
