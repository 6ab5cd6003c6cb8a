package amqp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/routing"
)

// anonymous is the mechanism that admits a client without a login, and without
// SASL too.
const anonymous = "ANONYMOUS"

// errHeader says that the protocol header was refused.
var errHeader = errors.New("amqp: protocol header refused")

// negotiate agrees on the protocol and logs the client in. It runs before the
// connection's goroutines, so a slow authenticator delays nobody else; bytes
// that the client sent ahead stay in the reader. [transport 2.2] [security 5.3.2]
func (f *Frontend) negotiate(ctx context.Context, nc net.Conn, in *reader, until time.Time) (routing.Principal, error) {
	if err := nc.SetDeadline(until); err != nil {
		return routing.Principal{}, fmt.Errorf("amqp: set the login deadline: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { hangUp(nc) })
	defer stop()
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	mechanisms := f.o.Env.Auth.Mechanisms(ctx, nc.RemoteAddr())
	open := slices.Contains(mechanisms, anonymous) && !f.o.NoBareAMQP
	preferred := frames.ProtocolSASL
	if open {
		preferred = frames.ProtocolAMQP
	}
	id, err := readProtocol(nc, in, preferred, func(id uint8) bool {
		return id == frames.ProtocolSASL || id == frames.ProtocolAMQP && open
	})
	if err != nil {
		return routing.Principal{}, err
	}
	var who routing.Principal
	if id == frames.ProtocolSASL {
		if who, err = f.sasl(ctx, nc, in, mechanisms); err != nil {
			return routing.Principal{}, err
		}
		_, err = readProtocol(nc, in, frames.ProtocolAMQP, func(id uint8) bool { return id == frames.ProtocolAMQP })
	} else {
		who, err = f.o.Env.Auth.Authenticate(ctx, protocols.Credentials{Mechanism: anonymous, Remote: nc.RemoteAddr()})
	}
	if err != nil {
		return routing.Principal{}, err
	}
	if !stop() {
		return routing.Principal{}, context.Cause(ctx)
	}
	if err := nc.SetDeadline(time.Time{}); err != nil {
		return routing.Principal{}, fmt.Errorf("amqp: lift the login deadline: %w", err)
	}
	return who, nil
}

// readProtocol reads the client's header and answers it: with the same when it
// is welcome, else with ours, and the connection ends. [transport 2.2]
func readProtocol(nc net.Conn, in *reader, preferred uint8, welcome func(id uint8) bool) (uint8, error) {
	b, err := in.peek(frames.ProtocolSize)
	if err != nil {
		return 0, fmt.Errorf("amqp: read the protocol header: %w", err)
	}
	p, err := frames.ParseProtocol(b)
	if err == nil && p == frames.Version(p.ID) && welcome(p.ID) {
		in.discard(frames.ProtocolSize)
		if _, err := nc.Write(p.Append(nil)); err != nil {
			return 0, fmt.Errorf("amqp: answer the protocol header: %w", err)
		}
		return p.ID, nil
	}
	refused := fmt.Errorf("%w: %q", errHeader, b)
	if _, err := nc.Write(frames.Version(preferred).Append(nil)); err != nil {
		return 0, errors.Join(refused, err)
	}
	return 0, refused
}
