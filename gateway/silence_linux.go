package gateway

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// leastAsked is how often in a row a host must have been sent something, or asked
// whether it takes more, before its silence counts: an answer may be on its way.
const leastAsked = 3

// silence returns how long the host at the other end of a socket has acknowledged
// nothing, and whether it was to.
func silence(c syscall.Conn) (silent time.Duration, asked bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, false
	}
	var info *unix.TCPInfo
	var failed error
	err = raw.Control(func(fd uintptr) {
		info, failed = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	})
	if err != nil || failed != nil { // it is closed, or no TCP
		return 0, false
	}
	asked = info.Unacked > 0 && info.Retransmits >= leastAsked || info.Probes >= leastAsked
	return time.Duration(info.Last_ack_recv) * time.Millisecond, asked
}
