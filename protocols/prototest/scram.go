package prototest

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"hash"

	"github.com/xdg-go/scram"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/routing"
)

// SCRAM conducts SCRAM-SHA-256 and SCRAM-SHA-512 for a table of users.
type SCRAM struct{ Users Users }

var _ protocols.Exchanger = SCRAM{}

var hashes = map[string]func() hash.Hash{"SCRAM-SHA-256": sha256.New, "SCRAM-SHA-512": sha512.New}

// Exchange begins a login.
func (s SCRAM) Exchange(_ context.Context, c protocols.Credentials) (protocols.Exchange, error) {
	h, ok := hashes[c.Mechanism]
	if !ok {
		return nil, refused("the mechanism is not known")
	}
	server, err := scram.HashGeneratorFcn(h).NewServer(func(user string) (scram.StoredCredentials, error) {
		password, known := s.Users[user]
		if !known {
			return scram.StoredCredentials{}, refused("no such user")
		}
		client, err := scram.HashGeneratorFcn(h).NewClient(user, password, "")
		if err != nil {
			return scram.StoredCredentials{}, err
		}
		return client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salt", Iters: 4096})
	})
	if err != nil {
		return nil, err
	}
	return &exchange{server.NewConversation()}, nil
}

type exchange struct{ *scram.ServerConversation }

// Step judges the client's words.
func (x *exchange) Step(_ context.Context, response []byte) ([]byte, *routing.Principal, error) {
	words, err := x.ServerConversation.Step(string(response))
	switch {
	case err != nil:
		return []byte(words), nil, refused(err.Error())
	case x.Valid():
		return []byte(words), &routing.Principal{Name: x.Username()}, nil
	}
	return []byte(words), nil, nil
}

func refused(reason string) *routing.Error {
	return &routing.Error{Code: routing.CodeUnauthorized, Op: "login", Reason: reason}
}
