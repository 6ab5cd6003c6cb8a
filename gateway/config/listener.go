package config

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Keys of the file. The second one is a setting, and a field of a listener.
const (
	keyListeners   = "listeners"
	keyMessageSize = "message-size"
)

// The protocols of a [Listener].
const (
	ProtocolSTOMP = "stomp"
	ProtocolAMQP  = "amqp"
	ProtocolHTTP  = "http" // with WebSockets at /stomp and /amqp
	ProtocolAny   = "any"  // all of them, told apart by the first byte
)

// Listener is a port that clients connect to.
type Listener struct {
	Name      string // unique: that of its setting, or as the file says
	Protocol  string
	Address   string // host:port
	TLS       bool   // from the first byte
	WebSocket bool   // around STOMP or AMQP, at any path
	Dialect   string // of STOMP or AMQP; empty means that of the protocol's setting
	// MessageSize is the greatest message that comes in by it; 0 means that of the
	// protocol's setting.
	MessageSize Size
}

// dialects lists the manners that a listener may have, by protocol.
var dialects = map[string][]string{
	ProtocolSTOMP: {"activemq", "artemis", "rabbitmq", "strict"},
	ProtocolAMQP:  {"artemis", "activemq", "rabbitmq"},
}

// Spelling says how the listener's address is set.
func (l Listener) Spelling() string {
	if s := (Setting{Name: l.Name}); s.known() {
		return s.Flag()
	}
	return "its entry in the file's list of listeners"
}

// Ports lists the listeners that are on: those of the settings, then those of
// the file's list.
func (c *Config) Ports() []Listener {
	var on []Listener
	for _, l := range append([]Listener{
		{Name: "stomp", Protocol: ProtocolSTOMP, Address: c.STOMP},
		{Name: "stomp-tls", Protocol: ProtocolSTOMP, Address: c.STOMPTLS, TLS: true},
		{Name: "stomp-ws", Protocol: ProtocolSTOMP, Address: c.STOMPWS, WebSocket: true},
		{Name: "amqp", Protocol: ProtocolAMQP, Address: c.AMQP},
		{Name: "amqp-tls", Protocol: ProtocolAMQP, Address: c.AMQPTLS, TLS: true},
		{Name: "http", Protocol: ProtocolHTTP, Address: c.HTTP},
		{Name: "http-tls", Protocol: ProtocolHTTP, Address: c.HTTPTLS, TLS: true},
		{Name: "mux", Protocol: ProtocolAny, Address: c.Mux},
	}, c.Listeners...) {
		if l.Address != "" {
			on = append(on, l)
		}
	}
	return on
}

func (l *loader) readListeners(f yamlFile, e *ast.MappingValueNode) error {
	if e == nil {
		return nil
	}
	items, err := f.items(e, "- name: legacy")
	if err != nil {
		return err
	}
	for _, item := range items {
		var one Listener
		err := f.fields(item, "name: legacy", map[string]func(ast.Node) error{
			"name":      text(&one.Name),
			"protocol":  text(&one.Protocol),
			"address":   text(&one.Address),
			"tls":       boolean(&one.TLS),
			"websocket": boolean(&one.WebSocket),
			"dialect":   text(&one.Dialect),

			keyMessageSize: size(&one.MessageSize),
		})
		if err == nil {
			err = l.checkListener(one)
			if err != nil {
				err = f.fail(item, "listeners: %w", err)
			}
		}
		if err != nil {
			return err
		}
		l.c.Listeners = append(l.c.Listeners, one)
	}
	return nil
}

func (l *loader) checkListener(one Listener) error {
	protocols := []string{ProtocolSTOMP, ProtocolAMQP, ProtocolHTTP, ProtocolAny}
	switch {
	case !namePattern.MatchString(one.Name):
		return fmt.Errorf("%q is not a name: write for example name: legacy", one.Name)
	case Setting{Name: one.Name}.known():
		return fmt.Errorf("%s is a listener that has a setting of its own: choose another name", one.Name)
	case slices.ContainsFunc(l.c.Listeners, func(o Listener) bool { return o.Name == one.Name }):
		return fmt.Errorf("%s stands there twice", one.Name)
	case !slices.Contains(protocols, one.Protocol):
		return fmt.Errorf("%s: the protocol %q is not one of %s", one.Name, one.Protocol, strings.Join(protocols, ", "))
	case one.Address == "":
		return fmt.Errorf("%s has no address: write for example address: 127.0.0.1:61614", one.Name)
	case one.WebSocket && one.Protocol != ProtocolSTOMP && one.Protocol != ProtocolAMQP:
		return fmt.Errorf("%s: websocket goes with stomp or amqp; http and any have WebSockets at /stomp and /amqp", one.Name)
	case one.Dialect != "" && dialects[one.Protocol] == nil:
		return fmt.Errorf("%s: a dialect goes with stomp or amqp; http and any take those of stomp-dialect and amqp-dialect", one.Name)
	case one.Dialect != "" && !slices.Contains(dialects[one.Protocol], one.Dialect):
		return fmt.Errorf("%s: the dialect %q is not one of %s", one.Name, one.Dialect, strings.Join(dialects[one.Protocol], ", "))
	}
	if err := checkAddress(one.Address); err != nil {
		return fmt.Errorf("%s: %w", one.Name, err)
	}
	return nil
}

// checkSizes refuses a limit of a listener, or of STOMP, that the node's own one
// makes meaningless.
func (l *loader) checkSizes() error {
	if err := l.checkSize(l.c.STOMPMessageSize); err != nil {
		return l.fail("stomp-message-size", err)
	}
	for _, p := range l.c.Listeners {
		if err := l.checkSize(p.MessageSize); err != nil {
			return l.failListener(p.Name, fmt.Errorf("%s: %w", keyMessageSize, err))
		}
	}
	return nil
}

func (l *loader) checkSize(s Size) error {
	low := Size(ranges[keyMessageSize].low)
	switch {
	case s == 0:
	case s < low:
		return fmt.Errorf("%v is less than %v: raise it, or leave it out", s, low)
	case s > l.c.MessageSize:
		return fmt.Errorf("%v is more than the node takes, %v: lower it, or raise message-size", s, l.c.MessageSize)
	}
	return nil
}

func checkAddress(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is not host:port: write for example 127.0.0.1:61613, or :61613 for all interfaces", addr)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q: the port is not a number from 0 to 65535", addr)
	}
	return nil
}

func (l *loader) checkAddresses() error {
	taken := make(map[string]string)
	all := append(l.c.Ports(), Listener{Name: "cluster", Address: l.c.Cluster})
	for _, p := range all {
		if p.Address == "" {
			continue
		}
		if err := checkAddress(p.Address); err != nil {
			return l.failListener(p.Name, err)
		}
		other, twice := taken[p.Address]
		if _, port, _ := net.SplitHostPort(p.Address); twice && port != "0" {
			return l.failListener(p.Name, fmt.Errorf("%s is the address of %s already: choose another port", p.Address, other))
		}
		taken[p.Address] = p.Name
	}
	if l.c.Advertise != "" {
		if err := checkAddress(l.c.Advertise); err != nil {
			return l.fail("advertise", err)
		}
	}
	return nil
}

// failListener names the setting of a listener, or its entry in the file.
func (l *loader) failListener(name string, err error) error {
	if s := (Setting{Name: name}); s.known() {
		return l.fail(name, err)
	}
	return &Error{Origin: l.c.File, Err: fmt.Errorf("listeners: %s: %w", name, err)}
}

// checkTLS finds files that are missing.
func (l *loader) checkTLS() error {
	c := l.c
	for _, pair := range []struct{ cert, key, certFile, keyFile string }{
		{"tls-cert", "tls-key", c.TLSCert, c.TLSKey}, {"cluster-tls-cert", "cluster-tls-key", c.ClusterCert, c.ClusterKey},
	} {
		switch {
		case pair.certFile != "" && pair.keyFile == "":
			return l.fail(pair.key, fmt.Errorf("%s is set, so the key is needed too", pair.cert))
		case pair.certFile == "" && pair.keyFile != "":
			return l.fail(pair.cert, fmt.Errorf("%s is set, so the certificate is needed too", pair.key))
		}
	}
	switch {
	case c.TLSClientAuth == "required" && c.TLSClientCA == "":
		return l.fail("tls-client-auth", errors.New("no client's certificate can be verified: set tls-client-ca"))
	case c.TLSClientCA != "" && c.TLSCert == "":
		return l.fail("tls-client-ca", errors.New("it needs a certificate of the node too: set tls-cert and tls-key"))
	case (c.ClusterCert == "") != (c.ClusterCA == ""):
		return l.fail("cluster-tls-ca", errors.New("cluster-tls-cert, cluster-tls-key and cluster-tls-ca go together: set all of them or none"))
	case c.ClusterCert != "" && !c.Clustered():
		return l.fail("cluster-tls-cert", errors.New("it needs a cluster address too: set cluster, for example to :6222"))
	}
	for _, p := range c.Ports() {
		if p.TLS && c.TLSCert == "" {
			return l.failListener(p.Name, errors.New("it needs a certificate: set tls-cert and tls-key"))
		}
	}
	return nil
}
