package amqp

import (
	"net"
	"slices"
	"testing"

	"github.com/rs/zerolog"
	"github.com/xdg-go/scram"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
)

// saslClient is a client in its SASL exchange.
type saslClient struct {
	t  *testing.T
	nc net.Conn
	in *reader
}

func dialSASL(t *testing.T, auth protocols.Authenticator) *saslClient {
	t.Helper()
	nc := piped(t, Options{Env: protocols.Env{Broker: memory(t), Auth: auth, Log: zerolog.Nop(), Node: "n1"}})
	c := &saslClient{t: t, nc: nc, in: newReader(nc, new(pools), 512)}
	c.write(frames.Version(frames.ProtocolSASL).Append(nil))
	if _, err := c.in.peek(frames.ProtocolSize); err != nil {
		t.Fatal(err)
	}
	c.in.discard(frames.ProtocolSize)
	return c
}

func (c *saslClient) write(b []byte) {
	c.t.Helper()
	if _, err := c.nc.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// read returns the node's next frame, and fails when it has more than 512 bytes.
func (c *saslClient) read() frames.Performative {
	c.t.Helper()
	p, err := readSASL(c.in)
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

// login conducts SCRAM, and returns how it ended.
func (c *saslClient) login(mechanism string, client *scram.ClientConversation) *frames.SASLOutcome {
	c.t.Helper()
	words, err := client.Step("")
	if err != nil {
		c.t.Fatal(err)
	}
	c.write(frames.AppendSASL(nil, &frames.SASLInit{Mechanism: wire.Symbol(mechanism), InitialResponse: []byte(words)}))
	for {
		switch p := c.read().(type) {
		case *frames.SASLChallenge:
			if words, err = client.Step(string(p.Challenge)); err != nil {
				c.t.Fatal(err)
			}
			c.write(frames.AppendSASL(nil, &frames.SASLResponse{Response: []byte(words)}))
		case *frames.SASLOutcome:
			return p
		default:
			c.t.Fatalf("got %T in the exchange", p)
		}
	}
}

// [28] [35] [36] [39] The mechanisms stand in the node's order, those with
// channel binding are left out, and the proof of the node comes with the outcome.
func TestSecurity_5_3_3_Scram(t *testing.T) {
	users := prototest.Users{"ann": "pencil"}
	for _, c := range []struct {
		mechanism string
		hash      scram.HashGeneratorFcn
		user      string
		password  string
		want      frames.SASLCode
	}{
		{"SCRAM-SHA-256", scram.SHA256, "ann", "pencil", frames.SASLOK},
		{"SCRAM-SHA-512", scram.SHA512, "ann", "pencil", frames.SASLOK},
		{"SCRAM-SHA-256", scram.SHA256, "ann", "pen", frames.SASLAuth},
		{"SCRAM-SHA-256", scram.SHA256, "bob", "pencil", frames.SASLAuth},
	} {
		t.Run(c.mechanism+" "+c.user+" "+c.password, func(t *testing.T) {
			a := &auth{Users: users, scram: true}
			k := dialSASL(t, a.authenticator())
			offer := k.read().(*frames.SASLMechanisms).Mechanisms
			if want := []wire.Symbol{"SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"}; !slices.Equal(offer, want) {
				t.Fatalf("got mechanisms %v, want %v", offer, want)
			}
			client, err := c.hash.NewClient(c.user, c.password, "")
			if err != nil {
				t.Fatal(err)
			}
			talk := client.NewConversation()
			o := k.login(c.mechanism, talk)
			if o.Outcome != c.want {
				t.Fatalf("got outcome %d, want %d", o.Outcome, c.want)
			}
			if c.want != frames.SASLOK {
				return
			}
			if _, err := talk.Step(string(o.AdditionalData)); err != nil || !talk.Valid() {
				t.Errorf("the node's proof %q is not valid: %v", o.AdditionalData, err)
			}
		})
	}
}

// [36] A mechanism that was not offered is refused, though the authenticator
// would know it.
func TestSecurity_5_3_3_ChannelBindingIsNotOffered(t *testing.T) {
	a := &auth{Users: prototest.Users{"ann": "pencil"}, scram: true}
	k := dialSASL(t, a.authenticator())
	k.read()
	k.write(frames.AppendSASL(nil, &frames.SASLInit{Mechanism: "SCRAM-SHA-512-PLUS", InitialResponse: []byte("p=tls-unique,,n=ann,r=x")}))
	if o := k.read().(*frames.SASLOutcome); o.Outcome != frames.SASLAuth {
		t.Errorf("got outcome %d, want %d", o.Outcome, frames.SASLAuth)
	}
}
