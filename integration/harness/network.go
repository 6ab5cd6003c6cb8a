package harness

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// Network is a small network of hosts on this machine: each host is a network
// namespace, all are on one switch, where the tests are too. It can be cut
// between any two hosts, silently as a cable is; the tests go on reaching both.
type Network struct {
	Hosts []*Host
	t     *testing.T
	// center is the namespace of the switch: a bridge of its own, which no rule of
	// this machine's firewall is for.
	center string
}

// Host is one namespace of a network.
type Host struct {
	Name      string
	network   *Network
	namespace string
	device    string // its end at the switch
	ip        string
}

// NewNetwork makes a network of n hosts named a, b, c …, which goes at the end
// of the test. It skips the test where that cannot be done.
func NewNetwork(t *testing.T, n int) *Network {
	t.Helper()
	if why := NoNetwork(); why != "" {
		t.Skip(why)
	}
	id := strconv.FormatUint(uint64(rand.Uint32()), 36)
	w := &Network{t: t, center: "sv" + id}
	t.Cleanup(w.remove)
	subnet := fmt.Sprintf("10.%d.%d.", 64+rand.IntN(64), rand.IntN(256))
	w.must("ip", "netns", "add", w.center)
	w.must("ip", "-n", w.center, "link", "add", "switch", "type", "bridge")
	w.must("ip", "-n", w.center, "link", "set", "switch", "up")
	w.must("ip", "link", "add", w.center, "type", "veth", "peer", "name", "tests", "netns", w.center)
	w.must("ip", "addr", "add", subnet+"1/24", "dev", w.center)
	w.must("ip", "link", "set", w.center, "up")
	w.must("ip", "-n", w.center, "link", "set", "tests", "master", "switch", "up")
	for i := range n {
		name := nodeName(i)
		h := &Host{Name: name, network: w, namespace: w.center + name, device: "host-" + name, ip: subnet + strconv.Itoa(10+i)}
		w.Hosts = append(w.Hosts, h)
		w.must("ip", "netns", "add", h.namespace)
		w.must("ip", "-n", w.center, "link", "add", h.device, "type", "veth", "peer", "name", "eth0", "netns", h.namespace)
		w.must("ip", "-n", h.namespace, "addr", "add", h.ip+"/24", "dev", "eth0")
		w.must("ip", "-n", h.namespace, "link", "set", "lo", "up")
		w.must("ip", "-n", h.namespace, "link", "set", "eth0", "up")
		w.must("ip", "-n", w.center, "link", "set", h.device, "master", "switch", "up")
	}
	return w
}

// NoNetwork says why no network can be made here, or nothing.
func NoNetwork() string {
	if os.Geteuid() != 0 {
		return "networks of namespaces are made by root alone"
	}
	for _, tool := range []string{"ip", "iptables", "tc"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "networks of namespaces need iproute2 and iptables: " + tool + " is missing"
		}
	}
	return ""
}

// remove takes everything away again.
func (w *Network) remove() {
	for _, h := range w.Hosts {
		_ = command("ip", "netns", "del", h.namespace)
	}
	_ = command("ip", "netns", "del", w.center)
}

func (w *Network) must(args ...string) {
	w.t.Helper()
	if err := command(args...); err != nil {
		w.t.Fatal(err)
	}
}

// command runs one of the tools of the network.
func command(args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// Addr returns an address of the host.
func (h *Host) Addr(port int) string { return net.JoinHostPort(h.ip, strconv.Itoa(port)) }

// inside returns what stands before a command that runs on the host.
func (h *Host) inside() []string { return []string{"ip", "netns", "exec", h.namespace} }

// Cut lets nothing through between two hosts, in either direction, without a
// word to either of them.
func (w *Network) Cut(a, b *Host) {
	w.t.Helper()
	a.ignore(b)
	b.ignore(a)
}

// Isolate cuts a host off all others.
func (w *Network) Isolate(h *Host) {
	w.t.Helper()
	for _, other := range w.Hosts {
		if other != h {
			w.Cut(h, other)
		}
	}
}

func (h *Host) ignore(other *Host) {
	h.network.t.Helper()
	h.network.must(append(h.inside(), "iptables", "-w", "-A", "INPUT", "-s", other.ip, "-j", "DROP")...)
}

// Heal undoes all cuts.
func (w *Network) Heal() {
	w.t.Helper()
	for _, h := range w.Hosts {
		w.must(append(h.inside(), "iptables", "-w", "-F", "INPUT")...)
	}
}

// Slow lets only so many bits a second through to the host.
func (w *Network) Slow(h *Host, rate string) {
	w.t.Helper()
	w.must("tc", "-n", w.center, "qdisc", "replace", "dev", h.device, "root", "tbf", "rate", rate, "burst", "64kb", "latency", "200ms")
}

// Fast undoes Slow.
func (w *Network) Fast(h *Host) {
	w.t.Helper()
	w.must("tc", "-n", w.center, "qdisc", "del", "dev", h.device, "root")
}

// Host returns the host of that name.
func (w *Network) Host(name string) *Host {
	w.t.Helper()
	for _, h := range w.Hosts {
		if h.Name == name {
			return h
		}
	}
	w.t.Fatalf("no host %q", name)
	return nil
}
