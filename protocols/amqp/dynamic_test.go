package amqp

import (
	"testing"

	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
)

// [91] A lifetime policy is named by whatever the client likes: descriptors that
// are no map keys ended the connection.
func TestMessaging_3_5_10_AnyDescriptorOfALifetimePolicy(t *testing.T) {
	for _, c := range []struct {
		name       string
		descriptor any
		want       frames.Condition
	}{
		{"a code", frames.CodeDeleteOnNoLinks, ""},
		{"a symbol", wire.Symbol("amqp:delete-on-close:list"), ""},
		{"a code that is none", uint64(1), frames.NotImplemented},
		{"a symbol that is none", wire.Symbol("never"), frames.NotImplemented},
		{"null", nil, frames.DecodeFailed},
		{"a string", "amqp:delete-on-close:list", frames.DecodeFailed},
		{"a binary", []byte{0x2b}, frames.DecodeFailed},
		{"a list", wire.List{uint64(0x2b)}, frames.DecodeFailed},
		{"a map", wire.Map{{Key: "a", Value: "b"}}, frames.DecodeFailed},
		{"an array", wire.Array{}, frames.DecodeFailed},
		{"a described value", wire.Described{Descriptor: []byte("a"), Value: wire.List{}}, frames.DecodeFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, bad := readPolicy(wire.Map{{
				Key: lifetimePolicy, Value: wire.Described{Descriptor: c.descriptor, Value: wire.List{}},
			}})
			got := frames.Condition("")
			if bad != nil {
				got = bad.Condition
			}
			if got != c.want {
				t.Errorf("got %v, want %q", bad, c.want)
			}
		})
	}
}
