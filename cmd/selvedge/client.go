package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/selvedge-mq/selvedge/cmd/selvedge/internal/endpoint"
)

// The protocols that send and receive speak.
const (
	protocolSTOMP = endpoint.STOMP
	protocolAMQP  = endpoint.AMQP
)

// clientFlags say how to reach a broker as a client.
type clientFlags struct {
	Protocol string `enum:"stomp,amqp" default:"stomp" env:"SELVEDGE_PROTOCOL" help:"Protocol to speak: stomp or amqp. A URL's scheme goes before it."`
	Server   string `env:"SELVEDGE_SERVER" placeholder:"HOST:PORT" help:"Address of the broker, or a URL: stomp://, stomp+ssl://, amqp://, amqps://, ws:// or wss:// (default: 127.0.0.1 and port 61613 for STOMP, 5672 for AMQP, with --tls 61614 and 5671). A HOST:PORT in the environment is for either protocol, a URL for its own."`
	User     string `env:"SELVEDGE_USER" placeholder:"NAME" help:"User, if the broker has any and the URL names none."`
	Password string `env:"SELVEDGE_PASSWORD" placeholder:"TEXT" help:"Password; better given by the environment than as a flag."`
	tlsFlags

	protocolPassed, serverPassed bool // on the command line
}

// AfterApply notes what stands on the command line: the rest is of the environment.
func (f *clientFlags) AfterApply(k *kong.Context) error { //nolint:unparam // kong's hook
	for _, p := range k.Path {
		if p.Flag == nil || p.Resolved {
			continue
		}
		switch p.Flag.Name {
		case "protocol":
			f.protocolPassed = true
		case "server":
			f.serverPassed = true
		}
	}
	return nil
}

// tlsFlags say whom to trust, and how to be trusted.
type tlsFlags struct {
	TLS                bool   `name:"tls" env:"SELVEDGE_TLS" help:"Speak TLS to a HOST:PORT; a URL says it by its scheme."`
	CA                 string `name:"ca" env:"SELVEDGE_CA" placeholder:"FILE" help:"Who issued the broker's certificate, in PEM, if the system does not know."`
	Cert               string `name:"cert" env:"SELVEDGE_CERT" placeholder:"FILE" help:"Certificate to show a broker that asks for one, in PEM."`
	Key                string `name:"key" env:"SELVEDGE_KEY" placeholder:"FILE" help:"Its private key in PEM."`
	InsecureSkipVerify bool   `name:"insecure-skip-verify" help:"Take any certificate of the broker, for a try: whoever is on the way can read along."`
}

// trust reads the files.
func (f *tlsFlags) trust() (*tls.Config, error) {
	return endpoint.Trust{CA: f.CA, Cert: f.Cert, Key: f.Key, Blind: f.InsecureSkipVerify}.Config()
}

// server is a broker to connect to.
type server struct {
	endpoint.Endpoint

	trust *tls.Config
	// anyProtocol says that the address comes from the environment, where nothing says
	// which protocol is spoken there.
	anyProtocol bool
}

// server reads the flags; the errors are of usage.
func (f *clientFlags) server() (*server, error) {
	s := &server{Endpoint: endpoint.Default(f.Protocol, f.TLS)}
	var err error
	if f.Server != "" {
		if s.Endpoint, err = endpoint.Parse(f.Server, f.Protocol); err != nil {
			return nil, &exitError{code: exitUsage, err: err}
		}
		s.anyProtocol = !f.serverPassed && !strings.Contains(f.Server, "://")
		if !f.serverPassed && f.protocolPassed && s.Protocol != f.Protocol {
			err = fmt.Errorf("SELVEDGE_SERVER is a URL of %s, and --protocol asks for %s: name the broker by --server", s.Protocol, f.Protocol)
			return nil, &exitError{code: exitUsage, err: err}
		}
	}
	if f.TLS {
		if err = s.RequireTLS(); err != nil {
			return nil, &exitError{code: exitUsage, err: err}
		}
	}
	if s.User == "" {
		s.User, s.Password = f.User, f.Password
	}
	if s.trust, err = f.trust(); err != nil {
		return nil, &exitError{code: exitUsage, err: err}
	}
	return s, nil
}

// dial connects. The connection is the caller's.
func (s *server) dial(ctx context.Context) (net.Conn, error) {
	return endpoint.Dial(ctx, &s.Endpoint, s.trust)
}

// header is one header of a message.
type header struct{ name, value string }

// outgoing is a message to send.
type outgoing struct {
	body       []byte
	headers    []header
	persistent bool
}

// incoming is a message received.
type incoming struct {
	body    []byte
	headers []header
	settle  func(context.Context) error
}

// sender sends messages; send returns when the broker has confirmed. Close ends
// the connection in order, abort ends one that has failed.
type sender interface {
	send(ctx context.Context, m outgoing) error
	close() error
	abort()
}

// source receives messages; receive waits for the next one. A message counts as
// processed when its settle was called. Close waits for so long until the broker has
// seen that.
type source interface {
	receive(ctx context.Context) (incoming, error)
	close(wait time.Duration) error
}

// openSender connects to send to the destination.
func (f *clientFlags) openSender(ctx context.Context, d destination, timeout time.Duration) (s sender, err error) {
	at, err := f.server()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if at.Protocol == protocolAMQP {
		s, err = openAMQPSender(ctx, at, d)
	} else {
		s, err = openSTOMPSender(ctx, at, d, timeout)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", at.Addr, at.reach(err))
	}
	return s, nil
}

// openSource connects to receive from the destination. Most bounds the messages that
// will be asked for, attach the wait for the broker to open the source; 0 means no
// bound.
func (f *clientFlags) openSource(ctx context.Context, d destination, most int, attach time.Duration) (s source, err error) {
	at, err := f.server()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if at.Protocol == protocolAMQP {
		s, err = openAMQPSource(ctx, at, d, most, attach)
	} else {
		s, err = openSTOMPSource(ctx, at, d, most)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", at.Addr, at.reach(err))
	}
	return s, nil
}

const (
	// connectTimeout bounds connecting and logging in.
	connectTimeout = 30 * time.Second
	// closeTimeout bounds the orderly end of a connection.
	closeTimeout = 10 * time.Second
	// emptyTimeout is the same where nothing was received, and the least wait for an attach.
	emptyTimeout = 2 * time.Second
	// maxCredit bounds the messages that are under way to a receiver.
	maxCredit = 100
)

// destination is the name of a queue or topic.
type destination struct {
	topic bool
	name  string
}

// parseDestination reads "orders", "queue://orders", "/queue/orders" and the
// same for topics. A bare name is a queue.
func parseDestination(text string) (destination, error) {
	for _, p := range []struct {
		prefix string
		topic  bool
	}{{"queue://", false}, {"/queue/", false}, {"topic://", true}, {"/topic/", true}} {
		if name, ok := strings.CutPrefix(text, p.prefix); ok && name != "" {
			return destination{topic: p.topic, name: name}, nil
		}
	}
	if text == "" || strings.Contains(text, "://") || strings.HasPrefix(text, "/") {
		return destination{}, fmt.Errorf("address %q: want a name, queue://NAME or topic://NAME", text)
	}
	return destination{name: text}, nil
}

// stomp is the spelling of STOMP.
func (d destination) stomp() string {
	if d.topic {
		return "/topic/" + d.name
	}
	return "/queue/" + d.name
}

// String is the canonical spelling, which AMQP uses.
func (d destination) String() string { return d.capability() + "://" + d.name }

// capability is how AMQP names the kind of a node.
func (d destination) capability() string {
	if d.topic {
		return "topic"
	}
	return "queue"
}

// parseHeader reads "key=value".
func parseHeader(text string) (header, error) {
	name, value, ok := strings.Cut(text, "=")
	if !ok || name == "" {
		return header{}, fmt.Errorf("header %q: want key=value", text)
	}
	return header{name: name, value: value}, nil
}

// silentFor says that a broker that is there did not answer.
func silentFor(d time.Duration) error {
	return fmt.Errorf("the broker has not answered for %v: has the queue a leader, and the cluster a quorum? See selvedge status there", d)
}

var errConnectionClosed = errors.New("the broker closed the connection")
