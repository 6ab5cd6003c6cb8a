package prototest

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// Peer is a client at one end of a pipe: what the front-end writes is gathered.
type Peer struct {
	Conn   net.Conn
	done   chan struct{}
	resume chan struct{}
	paused bool

	mu    sync.Mutex
	got   []byte
	ended bool
}

// NewPeer returns a client that reads from nc until the end. Close it.
func NewPeer(nc net.Conn) *Peer {
	p := &Peer{Conn: nc, done: make(chan struct{}), resume: make(chan struct{}, 1)}
	go p.read()
	return p
}

func (p *Peer) read() {
	defer close(p.done)
	buf := make([]byte, 4096)
	for {
		n, err := p.Conn.Read(buf)
		paused := errors.Is(err, os.ErrDeadlineExceeded)
		p.mu.Lock()
		p.got = append(p.got, buf[:n]...)
		p.ended = err != nil && !paused
		p.mu.Unlock()
		switch {
		case paused:
			<-p.resume
		case err != nil:
			return
		}
	}
}

// Take returns what has come since the last call, and whether nothing more will.
func (p *Peer) Take() (got string, ended bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	got, p.got = string(p.got), nil
	return got, p.ended
}

// Pause has the client read no more, until Resume.
func (p *Peer) Pause() {
	p.paused = true
	_ = p.Conn.SetReadDeadline(time.Unix(1, 0)) // of a pipe: it cannot fail
}

// Resume has a paused client read again.
func (p *Peer) Resume() {
	p.paused = false
	_ = p.Conn.SetReadDeadline(time.Time{})
	p.resume <- struct{}{}
}

// Close has the client go, and waits until it reads no more.
func (p *Peer) Close() {
	_ = p.Conn.Close()
	if p.paused {
		p.paused = false
		p.resume <- struct{}{}
	}
	<-p.done
}
