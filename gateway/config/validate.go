package config

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/selvedge-mq/selvedge/gateway/auth"
	"github.com/selvedge-mq/selvedge/routing"
)

const (
	maxName   = 63 // bytes; names become parts of folders
	minSecret = 8
)

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)

func isNameByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '-' || b == '_'
}

// ranges bound the numbers; a setting that is not listed has no bounds.
var ranges = map[string]struct{ low, high int }{
	"max-connections": {1, 1_000_000},

	"max-connections-per-address": {0, 1_000_000},
	"max-connections-per-user":    {0, 1_000_000},
	"logins-per-address":          {1, 10_000},

	"stomp-message-size":     {0, 1 << 30},
	"stomp-login-frame":      {1 << 10, 16 << 20},
	"stomp-subscriptions":    {1, 1_000_000},
	"stomp-temporary":        {1, 1_000_000},
	"stomp-transactions":     {1, 1_000_000},
	"stomp-transaction-size": {1, 10_000_000},
	"amqp-max-frame-size":    {512, 16 << 20},
	"amqp-credit":            {1, 1 << 20},
	"amqp-window":            {1, 1 << 20},
	"amqp-transactions":      {1, 1_000_000},
	"amqp-links":             {1, 1_000_000},
	"amqp-dynamic-nodes":     {1, 1_000_000},
	"amqp-suspended-bytes":   {64 << 10, 1 << 30},

	"replicas":       {1, 5},
	"shards":         {1, 256},
	"max-deliveries": {1, 1_000_000},
	"message-size":   {1 << 10, 1 << 30},

	"whole-message-size": {1 << 10, 5 << 20}, // a record holds more, and what a node adds
	"uploads":            {1, 100_000},
	"upload-window":      {256 << 10, 1 << 30},

	"header-count":    {10, 100_000},
	"header-size":     {1 << 10, 16 << 20},
	"in-flight":       {1, 1_000_000},
	"in-flight-bytes": {16 << 10, 1 << 30},
	"prefetch":        {1, 1_000_000},

	"node-in-flight-bytes": {64 << 10, 1 << 30},
	"transaction-bytes":    {64 << 10, 6 << 20}, // what a record holds
	"non-persistent-bytes": {64 << 10, 1 << 30},
	"topic-buffer-bytes":   {64 << 10, 1 << 30},
	"control-buffer-bytes": {1 << 20, 1 << 30},
	"cache-bytes":          {1 << 20, 1 << 30},
	"compact-above":        {8 << 20, 1 << 30},
	"scrub":                {0, 1 << 30},
}

var periods = map[string]struct{ low, high time.Duration }{
	"election":       {100 * time.Millisecond, 30 * time.Second},
	"send-timeout":   {100 * time.Millisecond, time.Hour},
	"append-timeout": {100 * time.Millisecond, time.Minute},
	"report-timeout": {10 * time.Millisecond, time.Minute},
	"login-timeout":  {time.Second, time.Hour},
	"upload-idle":    {time.Second, 24 * time.Hour},
	"stomp-idle":     {0, 7 * 24 * time.Hour},

	"stomp-transaction-timeout": {time.Second, 24 * time.Hour},
	"stomp-write-timeout":       {time.Second, 7 * 24 * time.Hour},

	"amqp-transaction-timeout": {time.Second, 24 * time.Hour},
	"amqp-idle-timeout":        {time.Second, 24 * time.Hour},
	"amqp-suspended-time":      {time.Second, 24 * time.Hour},

	"drain-timeout": {time.Second, time.Hour},
}

var choices = map[string][]string{
	"anonymous":                 {"", string(auth.Loopback), string(auth.Any), string(auth.None)},
	"stomp-dialect":             dialects[ProtocolSTOMP],
	"amqp-dialect":              dialects[ProtocolAMQP],
	"stomp-nack":                {"", "dead-letter", "requeue", "accept"},
	"stomp-bare-names":          {"", "queue", "topic"},
	"stomp-transaction-receipt": {"", "at-once", "at-commit"},
	"stomp-late-ack":            {"", "lenient", "error"},
	"stomp-client-ids":          {"", "share", "refuse", "take-over"},
	"stomp-ws-answers":          {"mirror", "text", "binary"},
	"stomp-commas":              {"", "separate", "literal"},
	"stomp-slashes":             {"", "literal", "encoded"},
	"stomp-wildcards":           {"", "both", "activemq", "amqp"},
	"stomp-queue-wildcards":     {"", "on", "off"},
	"tls-client-auth":           {"optional", "required"},
	"tls-min-version":           {"1.2", "1.3"},
	"log-level":                 {"trace", "debug", "info", "warn", "error"},
	"log-format":                {"console", "json"},
}

func (l *loader) validate() error {
	for _, s := range Settings() {
		if err := check(s.Name, s.of(l.c)); err != nil {
			return l.fail(s.Name, err)
		}
	}
	for _, part := range []func() error{l.checkNames, l.checkAddresses, l.checkTLS, l.checkSizes, l.checkOrigins, l.checkProxies, l.checkDisk, l.checkRoom, l.checkCluster, l.checkDeadLetter, l.checkGuest} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// check looks at one setting alone.
func check(name string, value any) error {
	number := func(n int, spell func(int) string) error {
		if r, ok := ranges[name]; ok && (n < r.low || n > r.high) {
			return fmt.Errorf("%s is not in %s to %s", spell(n), spell(r.low), spell(r.high))
		}
		return nil
	}
	switch v := value.(type) {
	case int:
		return number(v, strconv.Itoa)
	case Size:
		return number(int(v), func(n int) string { return Size(n).String() })
	case time.Duration:
		if r, ok := periods[name]; ok && (v < r.low || v > r.high) {
			return fmt.Errorf("%v is not in %s to %s", v, plain(r.low), plain(r.high))
		}
	case string:
		if allowed, ok := choices[name]; ok && !slices.Contains(allowed, v) {
			words := slices.DeleteFunc(slices.Clone(allowed), func(w string) bool { return w == "" })
			return fmt.Errorf("%q is not one of %s", v, strings.Join(words, ", "))
		}
	}
	return nil
}

func (l *loader) checkNames() error {
	for _, f := range []struct{ setting, value string }{{"node", l.c.Node}, {"cluster-name", l.c.ClusterName}} {
		if !namePattern.MatchString(f.value) {
			return l.fail(f.setting, fmt.Errorf("%q is not a name: use at most %d letters, digits, - and _, and begin with a letter or digit", f.value, maxName))
		}
	}
	if l.c.Data == "" && l.c.Storage.On {
		return l.fail("data", errors.New("the folder is empty: name one, or set storage to false"))
	}
	return nil
}

func (l *loader) checkCluster() error {
	c := l.c
	if !c.Clustered() {
		switch {
		case len(c.Seeds) > 0:
			return l.fail("seeds", errors.New("they need a cluster address too: set cluster, for example to :6222"))
		case c.Advertise != "":
			return l.fail("advertise", errors.New("it needs a cluster address too: set cluster, for example to :6222"))
		case !c.Storage.On:
			return l.fail("storage", errors.New("a node without storage needs a cluster: set cluster, secret and seeds"))
		}
		return nil
	}
	switch {
	case c.Secret == "":
		return l.fail("secret", errors.New("a cluster needs one, the same on all nodes: make one with: openssl rand -hex 16"))
	case len(c.Secret) < minSecret:
		return l.fail("secret", fmt.Errorf("it has %d bytes, at least %d are needed: make one with: openssl rand -hex 16", len(c.Secret), minSecret))
	case len(c.Seeds) == 0:
		return l.fail("seeds", errors.New("a cluster needs the addresses of some of its nodes, for example node1:6222,node2:6222,node3:6222"))
	}
	return nil
}

// site is the pattern of an origin as browsers spell it: scheme, host and port.
var site = regexp.MustCompile(`^(?:([A-Za-z*?][A-Za-z0-9+.*?-]*)://)?([^\s/#@:]+)(?::([0-9*?]+))?$`)

// checkOrigins: a browser sends the login of a site it knows to whoever's page asks
// for it, so a page of any site would be its visitor.
func (l *loader) checkOrigins() error {
	for _, s := range l.c.WSOrigins {
		scheme, host, port, ok := splitSite(s)
		switch {
		case !ok:
			return l.fail("ws-origins", fmt.Errorf("%q is not a web site: write for example shop.example, *.shop.example or https://shop.example:8443, without a path", s))
		case port != "" && port == standardPorts[strings.ToLower(scheme)]:
			return l.fail("ws-origins", fmt.Errorf("%q lets nobody in, since browsers leave the port %s of %s out: write %s://%s", s, port, strings.ToLower(scheme), scheme, host))
		case l.c.STOMPWSLogin.On && strings.Trim(host, "*?.") == "":
			return l.fail("stomp-ws-login", fmt.Errorf("with ws-origins %s a page of any site could use the login that its visitor's browser remembers: name the sites in ws-origins, which clients that are no browsers need not", s))
		}
	}
	return nil
}

// standardPorts are the ports that stand in no origin, by the scheme.
var standardPorts = map[string]string{"http": "80", "https": "443"}

// splitSite takes the pattern of an origin apart; what is left out is empty.
func splitSite(s string) (scheme, host, port string, ok bool) {
	parts := site.FindStringSubmatch(s)
	if parts == nil {
		return "", "", "", false
	}
	scheme, host, port = parts[1], parts[2], parts[3]
	if port != "" && !strings.ContainsAny(port, "*?") {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "", "", "", false
		}
	}
	_, err := path.Match(s, "")
	return scheme, host, port, err == nil
}

func (l *loader) checkProxies() error {
	for _, w := range l.c.ProxyFrom {
		if _, err := ParseNetwork(w); err != nil {
			return l.fail("proxy-from", err)
		}
	}
	return nil
}

// ParseNetwork reads an address or a network in CIDR notation.
func ParseNetwork(text string) (netip.Prefix, error) {
	if at, err := netip.ParseAddr(text); err == nil {
		at = at.Unmap()
		return netip.PrefixFrom(at, at.BitLen()), nil
	}
	n, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a network: write for example 10.0.0.7 or 10.0.0.0/8", text)
	}
	return n.Masked(), nil
}

func (l *loader) checkDisk() error {
	if low, full := l.c.DiskLow, l.c.DiskFull; low > 0 && full > low {
		return l.fail("disk-full", fmt.Errorf("%v is more than disk-low, %v: the warning must come first", full, low))
	}
	return nil
}

// checkRoom refuses a bound of memory that the greatest message would not fit in,
// and one for the node that a single transaction could not fit in.
func (l *loader) checkRoom() error {
	c := l.c
	whole := min(c.WholeSize, c.MessageSize)
	need := 2 * whole // the message, and others on their way
	for _, f := range []struct {
		setting string
		value   Size
	}{
		{"node-in-flight-bytes", c.NodeInFlightBytes}, {"non-persistent-bytes", c.NonPersistentBytes}, {"topic-buffer-bytes", c.TopicBufferBytes},
	} {
		if f.value < need {
			return l.fail(f.setting, fmt.Errorf("%v is less than twice whole-message-size, %v: raise it to %v or lower whole-message-size", f.value, whole, need))
		}
	}
	if c.NodeInFlightBytes < c.TransactionBytes {
		return l.fail("node-in-flight-bytes", fmt.Errorf("%v is less than transaction-bytes, %v: raise it, or lower transaction-bytes", c.NodeInFlightBytes, c.TransactionBytes))
	}
	return nil
}

func (l *loader) checkDeadLetter() error {
	at, err := routing.ParseAddress(l.c.DeadLetter)
	if err == nil && at.Kind != routing.KindQueue {
		err = fmt.Errorf("%q is not a queue", l.c.DeadLetter)
	}
	if err != nil {
		return l.fail("dead-letter", err)
	}
	return nil
}
