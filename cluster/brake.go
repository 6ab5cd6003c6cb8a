package cluster

import (
	"maps"
	"net"
	"sync"
	"time"
)

// Bounds of the log lines about what comes from outside.
const (
	refusalEvery = time.Second // between two lines about one host
	refusalHosts = 256         // that have lines of their own; the others share one
)

// brake bounds the log lines about hosts: anybody who reaches a port can cause them. Its
// zero value lets through. It is safe for concurrent use.
type brake struct {
	mu    sync.Mutex
	hosts map[string]*refusals // nil until the first
}

// refusals are the lines about one host.
type refusals struct {
	told       time.Time
	suppressed int // since then
}

// tells says whether a line about a remote address is logged, and how many about its host
// were not since the last one. Those of hosts that are not heard of again are told by nobody.
func (b *brake) tells(remote string, now time.Time) (suppressed int, tell bool) {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	over := func(_ string, r *refusals) bool { return now.Sub(r.told) >= refusalEvery }
	if b.hosts[host] == nil && len(b.hosts) >= refusalHosts {
		maps.DeleteFunc(b.hosts, over)
	}
	if b.hosts == nil {
		b.hosts = make(map[string]*refusals)
	}
	if b.hosts[host] == nil && len(b.hosts) >= refusalHosts {
		host = "" // shared
	}
	r := b.hosts[host]
	if r == nil {
		r = &refusals{}
		b.hosts[host] = r
	}
	if !over(host, r) {
		r.suppressed++
		return 0, false
	}
	suppressed, *r = r.suppressed, refusals{told: now}
	return suppressed, true
}
