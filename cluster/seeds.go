package cluster

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// resolver turns a host name into addresses.
type resolver func(ctx context.Context, host string) ([]string, error)

// seedAddrs returns the host:ports of the other nodes that the seeds stand for.
// The node's own address is left out, listed or not; a host name of several
// addresses stands for each of them.
func seedAddrs(ctx context.Context, seeds []string, own string, lookup resolver) ([]string, error) {
	ownHost, ownPort, err := net.SplitHostPort(own)
	if err != nil {
		return nil, wrong("Advertise", "%w", err)
	}
	mine := ownAddrs(ctx, ownHost, lookup)
	var addrs []string
	for _, s := range seeds {
		list, err := parseSeed(s, defaultPort)
		if err != nil {
			return nil, err
		}
		for _, hp := range list {
			host, port, err := net.SplitHostPort(hp)
			if err != nil {
				return nil, wrong("Seeds", "%w", err)
			}
			for _, h := range others(ctx, host, port == ownPort, mine, lookup) {
				addrs = append(addrs, net.JoinHostPort(h, port))
			}
		}
	}
	slices.Sort(addrs)
	return slices.Compact(addrs), nil
}

// checkSeeds refuses, before anything is touched, seeds that cannot be read and those
// that name no other node: the server forms no cluster of one.
func checkSeeds(ctx context.Context, o Options, lookup resolver) error {
	if !o.clustered() {
		return nil
	}
	addrs, err := seedAddrs(ctx, o.Seeds, o.own(), lookup)
	if err == nil && len(addrs) == 0 {
		err = wrong("Seeds", "%s: this is the node itself: add the address of another one, or run the node alone, without a cluster address",
			strings.Join(o.Seeds, ","))
	}
	return err
}

// others returns the hosts that a seed's host stands for; those that are this
// node's own are left out if its port is.
func others(ctx context.Context, host string, ownPort bool, mine map[string]bool, lookup resolver) []string {
	ips, err := lookup(ctx, host)
	if err != nil || len(ips) < 2 {
		own := mine[host] || len(ips) == 1 && mine[ips[0]]
		if ownPort && own {
			return nil
		}
		return []string{host} // dialed, and resolved, by its name
	}
	var list []string
	for _, ip := range ips {
		if !ownPort || !mine[ip] {
			list = append(list, ip)
		}
	}
	return list
}

// parseSeed splits one spelling of seeds into host:ports.
func parseSeed(seed, defaultPort string) ([]string, error) {
	s := strings.TrimSpace(seed)
	for _, scheme := range []string{"static:", "failover:"} {
		if rest, ok := strings.CutPrefix(s, scheme); ok {
			s, _, _ = strings.Cut(rest, "?")
			s = strings.TrimSuffix(strings.TrimPrefix(s, "("), ")")
			break
		}
	}
	var addrs []string
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		if _, rest, ok := strings.Cut(part, "://"); ok {
			part, _, _ = strings.Cut(rest, "?")
			part = strings.TrimSuffix(part, "/")
		}
		if part == "" {
			return nil, wrong("Seeds", "%q has an empty address: write for example a:6222,b:6222", seed)
		}
		part, err := withPort(part, defaultPort)
		if err != nil {
			return nil, wrong("Seeds", "%w: write for example a:6222 or static:(tcp://a:6222,tcp://b:6222)", err)
		}
		addrs = append(addrs, part)
	}
	return addrs, nil
}

// withPort completes a host, a host:port or an IPv6 address to a host:port.
func withPort(s, defaultPort string) (string, error) {
	wrong := fmt.Errorf("%q is not host:port with a port from 1 to 65535", s)
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"), defaultPort
		if strings.ContainsAny(host, ":[]") && net.ParseIP(host) == nil {
			return "", wrong
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" {
		return "", wrong
	}
	return net.JoinHostPort(host, port), nil
}

// ownAddrs returns the addresses that reach this node when it listens or is
// advertised at host.
func ownAddrs(ctx context.Context, host string, lookup resolver) map[string]bool {
	mine := make(map[string]bool)
	if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
		mine[host] = true
		if ips, err := lookup(ctx, host); err == nil {
			for _, ip := range ips {
				mine[ip] = true
			}
		}
		return mine
	}
	nets, err := net.InterfaceAddrs()
	if err != nil {
		return mine
	}
	for _, n := range nets {
		if ip, ok := n.(*net.IPNet); ok {
			mine[ip.IP.String()] = true
		}
	}
	return mine
}
