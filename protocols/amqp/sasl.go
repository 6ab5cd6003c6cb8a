package amqp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/routing"
)

// maxSASLFrame is what is taken of a client: the specification's 512 bytes are
// too few for tokens that clients send. [security 5.3.1]
const maxSASLFrame = 64 << 10

// maxSASLSteps bounds an exchange; SCRAM needs two.
const maxSASLSteps = 8

// The mechanisms that need no steps.
const (
	plain    = "PLAIN"
	external = "EXTERNAL" // by the certificate of the client's TLS
)

var (
	errSASLFrame   = errors.New("amqp: unexpected frame in the SASL exchange")
	errNoMechanism = errors.New("amqp: no SASL mechanism is configured that AMQP clients can use")
	errPlain       = errors.New("amqp: malformed SASL response")
	errSASLSteps   = errors.New("amqp: the SASL exchange does not end")
)

// sasl runs the SASL exchange: one mechanism, one outcome. What the client sent
// behind a failing login is never looked at. [security 5.3.2]
func (f *Frontend) sasl(ctx context.Context, nc net.Conn, in *reader, mechanisms []string) (routing.Principal, error) {
	offer := f.supported(mechanisms)
	if len(offer) == 0 {
		return routing.Principal{}, errNoMechanism
	}
	if err := writeSASL(nc, &frames.SASLMechanisms{Mechanisms: offer}); err != nil {
		return routing.Principal{}, err
	}
	p, err := readSASL(in)
	if err != nil {
		return routing.Principal{}, err
	}
	init, ok := p.(*frames.SASLInit)
	if !ok {
		return routing.Principal{}, errSASLFrame
	}
	who, last, err := f.login(ctx, nc, in, init, offer)
	outcome := saslCode(err)
	f.metrics.logins.WithLabelValues(saslNames[outcome]).Inc()
	if errors.Is(err, errSASLFrame) {
		return routing.Principal{}, err
	}
	return who, errors.Join(err, writeSASL(nc, &frames.SASLOutcome{Outcome: outcome, AdditionalData: last}))
}

// login conducts the mechanism and asks the authenticator. The last value is
// what goes to the client with the outcome.
func (f *Frontend) login(
	ctx context.Context, nc net.Conn, in *reader, init *frames.SASLInit, offer []wire.Symbol,
) (routing.Principal, []byte, error) {
	var who routing.Principal
	if !slices.Contains(offer, init.Mechanism) {
		return who, nil, &routing.Error{
			Code: routing.CodeUnauthorized, Op: "login", Reason: "the mechanism is not offered",
		}
	}
	response := init.InitialResponse
	if response == nil && init.Mechanism != anonymous { // [security 5.3.3.3] an empty challenge asks for it
		var err error
		if response, err = ask(nc, in, nil); err != nil {
			return who, nil, err
		}
	}
	c := protocols.Credentials{Mechanism: string(init.Mechanism), Remote: nc.RemoteAddr()}
	switch init.Mechanism {
	case anonymous: // the response is no credential
	case external: // the response is whom the client wants to be
		if !utf8.Valid(response) {
			return who, nil, errPlain
		}
		c.User = string(response)
	case plain:
		var err error
		if c.User, c.Password, err = parsePlain(response); err != nil {
			return who, nil, err
		}
	default:
		return f.exchange(ctx, nc, in, c, response)
	}
	who, err := f.o.Env.Auth.Authenticate(ctx, c)
	return who, nil, err
}

// exchange conducts a mechanism of several steps, such as SCRAM. The last of the
// node's words goes with the outcome, not in one more challenge. (RFC 5802)
func (f *Frontend) exchange(
	ctx context.Context, nc net.Conn, in *reader, c protocols.Credentials, response []byte,
) (routing.Principal, []byte, error) {
	x, err := f.exchanger.Exchange(ctx, c)
	if err != nil {
		return routing.Principal{}, nil, err
	}
	for range maxSASLSteps {
		challenge, who, err := x.Step(ctx, response)
		if err != nil || who != nil {
			if who == nil {
				who = new(routing.Principal)
			}
			return *who, challenge, err
		}
		if response, err = ask(nc, in, challenge); err != nil {
			return routing.Principal{}, nil, err
		}
	}
	return routing.Principal{}, nil, errSASLSteps
}

// ask sends a challenge and returns the response.
func ask(nc net.Conn, in *reader, challenge []byte) ([]byte, error) {
	if challenge == nil {
		challenge = []byte{}
	}
	if err := writeSASL(nc, &frames.SASLChallenge{Challenge: challenge}); err != nil {
		return nil, err
	}
	p, err := readSASL(in)
	if err != nil {
		return nil, err
	}
	r, ok := p.(*frames.SASLResponse)
	if !ok {
		return nil, errSASLFrame
	}
	return r.Response, nil
}

// parsePlain reads "authzid NUL authcid NUL password"; acting for another user
// is not possible. (RFC 4616)
func parsePlain(b []byte) (user, password string, err error) {
	parts := bytes.Split(b, []byte{0})
	if len(parts) != 3 || !utf8.Valid(b) || len(parts[1]) == 0 {
		return "", "", errPlain
	}
	if len(parts[0]) > 0 && !bytes.Equal(parts[0], parts[1]) {
		return "", "", errPlain
	}
	return string(parts[1]), string(parts[2]), nil
}

// supported keeps what can be conducted of the mechanisms, in the given order.
// Channel binding cannot: SCRAM's mechanisms with PLUS are never offered.
func (f *Frontend) supported(mechanisms []string) []wire.Symbol {
	var s []wire.Symbol
	for _, m := range mechanisms {
		switch m {
		case plain, anonymous, external:
			s = append(s, wire.Symbol(m))
		default:
			if f.exchanger != nil && !strings.HasSuffix(m, "-PLUS") {
				s = append(s, wire.Symbol(m))
			}
		}
	}
	return s
}

var saslNames = [...]string{
	frames.SASLOK: "ok", frames.SASLAuth: "refused", frames.SASLSystem: "failed",
	frames.SASLSystemPerm: "failed", frames.SASLSystemTrans: "unavailable",
}

// saslCode maps the end of a login. A client fails over after a temporary
// failure alone.
func saslCode(err error) frames.SASLCode {
	switch {
	case err == nil:
		return frames.SASLOK
	case errors.Is(err, errPlain), errors.Is(err, errSASLSteps):
		return frames.SASLAuth
	}
	var e *routing.Error
	if errors.As(err, &e) && (e.Code == routing.CodeUnauthorized || e.Code == routing.CodeInvalid) {
		return frames.SASLAuth
	}
	return frames.SASLSystemTrans
}

func writeSASL(nc net.Conn, p frames.Performative) error {
	if _, err := nc.Write(frames.AppendSASL(nil, p)); err != nil {
		return fmt.Errorf("amqp: write a SASL frame: %w", err)
	}
	return nil
}

// readSASL reads one SASL frame and takes it off the reader.
func readSASL(in *reader) (frames.Performative, error) {
	b, err := in.peek(frames.HeaderSize)
	if err != nil {
		return nil, fmt.Errorf("amqp: read a SASL frame: %w", err)
	}
	h, err := frames.ParseHeader(b)
	switch {
	case err != nil:
		return nil, err
	case h.Size > maxSASLFrame || h.Type != frames.TypeSASL || h.Empty():
		return nil, errSASLFrame
	}
	if b, err = in.peek(int(h.Size)); err != nil {
		return nil, fmt.Errorf("amqp: read a SASL frame: %w", err)
	}
	p, err := frames.DecodeSASL(bytes.Clone(b[h.Body():])) // responses alias it
	in.discard(int(h.Size))
	return p, err
}
