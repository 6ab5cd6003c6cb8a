package cluster

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
)

// fakeDNS answers from a table; addresses stand for themselves.
func fakeDNS(names map[string][]string) resolver {
	return func(_ context.Context, host string) ([]string, error) {
		if ips, ok := names[host]; ok {
			return ips, nil
		}
		if host != "" && host[0] >= '0' && host[0] <= '9' {
			return []string{host}, nil
		}
		return nil, errors.New("no such host")
	}
}

func TestSeedAddrs(t *testing.T) {
	dns := fakeDNS(map[string][]string{
		"a":       {"10.0.0.1"},
		"b":       {"10.0.0.2"},
		"cluster": {"10.0.0.1", "10.0.0.2", "10.0.0.3"},
	})
	for _, c := range []struct {
		name  string
		seeds []string
		own   string
		want  []string
	}{
		{"the own address need not be listed", []string{"b:1", "c:1"}, "a:1", []string{"b:1", "c:1"}},
		{"the own address is left out", []string{"a:1", "b:1", "c:1"}, "a:1", []string{"b:1", "c:1"}},
		{"the own address is recognized by another spelling", []string{"10.0.0.1:1", "b:1"}, "a:1", []string{"b:1"}},
		{"a name that resolves to the own address is the own one", []string{"a:1", "b:1"}, "10.0.0.1:1", []string{"b:1"}},
		{"the same host with another port is another node", []string{"a:2"}, "a:1", []string{"a:2"}},
		{"a name of several addresses stands for all", []string{"cluster:1"}, "10.0.0.3:1", []string{"10.0.0.1:1", "10.0.0.2:1"}},
		{"the default port is added", []string{"b", "[::1]"}, "a:6222", []string{"[::1]:6222", "b:6222"}},
		{"static lists are split", []string{"static:(tcp://b:1,tcp://c:1)"}, "a:1", []string{"b:1", "c:1"}},
		{"failover lists with options are split", []string{"failover:(tcp://b:1,ssl://c:1?x=y)?randomize=false"}, "a:1", []string{"b:1", "c:1"}},
		{"commas and spaces are split", []string{" b:1 , nats://c:1/"}, "a:1", []string{"b:1", "c:1"}},
		{"an unknown name is kept for later", []string{"later:1"}, "a:1", []string{"later:1"}},
		{"a duplicate counts once", []string{"b:1", "b:1"}, "a:1", []string{"b:1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := seedAddrs(t.Context(), c.seeds, c.own, dns)
			if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
				t.Errorf("error %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestSeedAddrs_Mistakes(t *testing.T) {
	for _, seed := range []string{"", "a:1,,b:1", "static:()", "a:b:c:d:1]"} {
		if got, err := seedAddrs(t.Context(), []string{seed}, "x:1", fakeDNS(nil)); err == nil {
			t.Errorf("seed %q: got %q, want an error", seed, got)
		}
	}
}

// Seeds that name the node alone ended in the embedded server, in its own words and
// after a standalone folder had been set aside for its import.
func TestOpen_RefusesSeedsBeforeItTouchesTheFolder(t *testing.T) {
	for _, c := range []struct{ seed, want string }{
		{"127.0.0.1:6222", "this is the node itself: add the address of another one"},
		{"b:x", `"b:x" is not host:port`},
	} {
		dir := t.TempDir()
		o := Options{Node: "n", Dir: dir, Log: zerolog.Nop()}
		m, err := writeMarker(o.withDefaults())
		if err != nil {
			t.Fatal(err)
		}
		o.Listen, o.ClusterName, o.Secret, o.Seeds = "127.0.0.1:6222", "c", "secret", []string{c.seed}
		n, err := Open(t.Context(), o)
		if err == nil {
			n.Kill()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("seed %s: got %v, want %s", c.seed, err, c.want)
		}
		if got, err := Detect(dir); err != nil || got.Format != m.Format {
			t.Errorf("seed %s: the folder: got %v, %v, want it as it was", c.seed, got, err)
		}
	}
}

func FuzzParseSeed(f *testing.F) {
	for _, s := range []string{"a:1", "static:(tcp://a:1,tcp://b:2)", "[::1]:5", "failover:(a)?x", "::1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		addrs, err := parseSeed(s, "6222")
		if err == nil && len(addrs) == 0 {
			t.Errorf("%q: got no address and no error", s)
		}
		for _, addr := range addrs {
			host, port, err := net.SplitHostPort(addr)
			if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 || host == "" {
				t.Errorf("%q: got %q, want host:port with a port from 1 to 65535", s, addr)
			}
			if again, err := withPort(addr, "1"); err != nil || again != addr {
				t.Errorf("%q: got %q, which is read as %q, %v", s, addr, again, err)
			}
		}
	})
}
