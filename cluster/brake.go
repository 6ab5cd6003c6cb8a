package cluster

import (
	"maps"
	"net"
	"sync"
	"time"
)

// Bounds of the log lines about those who connect to the port for other nodes.
const (
	refusalEvery = time.Second // between two lines about one host
	refusalHosts = 256         // that have lines of their own; the others share one
)

// brake holds log lines back that anybody who reaches the port for other nodes can
// have the node write. Its zero value is ready, and safe for concurrent use.
type brake struct {
	mu    sync.Mutex
	hosts map[string]*refusals // nil until the first refusal
}

// refusals are those of one host.
type refusals struct {
	told       time.Time
	suppressed int // since then
}

// tells says whether a refusal is logged, and how many of that host were not since the
// last line about it. Those of hosts that are not tried again are in the metric alone.
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
