package routing

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxAddressName is the greatest length of an address's name in bytes.
const MaxAddressName = 1024

// Kind says how an address hands out its messages.
type Kind uint8

// The kinds of addresses. The numbers are part of the envelope's encoding.
const (
	KindQueue     Kind = 1 // each message goes to one subscription
	KindTopic     Kind = 2 // each message goes to every subscription
	KindTempQueue Kind = 3 // a queue that lives as long as the connection that made it
	KindTempTopic Kind = 4 // a topic that lives as long as the connection that made it
)

var kindNames = [...]string{KindQueue: "queue", KindTopic: "topic", KindTempQueue: "temp-queue", KindTempTopic: "temp-topic"}

// String returns the kind's name as it stands in front of "://".
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Address is the cluster-wide name of a queue or topic. The zero value is not
// valid. Addresses are comparable and may be map keys.
type Address struct {
	Kind Kind
	Name string
}

// Queue returns the address of the queue with that name.
func Queue(name string) Address { return Address{Kind: KindQueue, Name: name} }

// Topic returns the address of the topic with that name.
func Topic(name string) Address { return Address{Kind: KindTopic, Name: name} }

// String returns the canonical spelling, "queue://orders".
func (a Address) String() string { return a.Kind.String() + "://" + a.Name }

// Validate reports why the address cannot be used, or nil.
func (a Address) Validate() error {
	switch {
	case a.Kind < KindQueue || a.Kind > KindTempTopic:
		return fmt.Errorf("address %q: unknown kind", a.Name)
	case a.Name == "":
		return errors.New("address: the name is empty")
	case len(a.Name) > MaxAddressName:
		return fmt.Errorf("address: the name has %d bytes, at most %d are allowed", len(a.Name), MaxAddressName)
	case !utf8.ValidString(a.Name):
		return errors.New("address: the name is not valid UTF-8")
	}
	for _, r := range a.Name {
		if r < ' ' || r == 0x7f {
			return fmt.Errorf("address %q: control characters are not allowed", a.Name)
		}
	}
	return nil
}

// ParseAddress reads the canonical spelling; a name without "://" is a queue.
func ParseAddress(s string) (Address, error) {
	a := Address{Kind: KindQueue, Name: s}
	if head, name, ok := strings.Cut(s, "://"); ok {
		a = Address{Name: name}
		for k, known := range kindNames {
			if known != "" && known == head {
				a.Kind = Kind(k)
			}
		}
		if a.Kind == 0 {
			return Address{}, fmt.Errorf("address %q: want queue://, topic://, temp-queue:// or temp-topic://", s)
		}
	}
	if err := a.Validate(); err != nil {
		return Address{}, err
	}
	return a, nil
}
