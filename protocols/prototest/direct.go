package prototest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/selvedge-mq/selvedge/routing"
)

// Direct does what a script says, and reports whether it knows the verb:
//
//	hold, release                 sends are kept back, and taken in
//	full on, full off             senders are asked to wait, or not any more
//	fail send queue://a full why  requests of that kind on that address fail, see [Broker.Fail];
//	                              a code that is left out is full
//	mend send queue://a           they do not any more
//	cancel queue://a deleted      the subscriptions to it are ended
//
// The address of "open", "create" and "commit" is of no account.
func (b *Broker) Direct(words []string) (known bool, err error) {
	switch verb := words[0]; verb {
	case "hold":
		b.Hold()
	case "release":
		b.Release()
	case "full":
		if len(words) != 2 || words[1] != "on" && words[1] != "off" {
			return true, fmt.Errorf("what is %q? full is on or off", words)
		}
		b.SetFull(words[1] == "on")
	case "fail", "mend":
		if len(words) < 3 {
			return true, fmt.Errorf("what is %q? %s has a kind of request and an address", words, verb)
		}
		on, err := failing(words[1], words[2])
		if err != nil {
			return true, err
		}
		var failure *routing.Error
		if verb == "fail" {
			failure = FailureOf(words[3:], routing.CodeFull)
			failure.Op, failure.Address = words[1], words[2]
		}
		b.Fail(words[1], on, failure)
	case "cancel":
		if len(words) < 2 {
			return true, fmt.Errorf("what is %q? cancel has an address", words)
		}
		on, err := routing.ParseAddress(words[1])
		if err != nil {
			return true, err
		}
		failure := FailureOf(words[2:], routing.CodeDeleted)
		failure.Op, failure.Address = "subscribe", words[1]
		b.CloseSubscriptions(on, failure)
	default:
		return false, nil
	}
	return true, nil
}

// failing reads the address on which requests of a kind fail.
func failing(op, text string) (routing.Address, error) {
	if slices.Contains([]string{"open", "create", "commit"}, op) || text == "-" {
		return routing.Address{}, nil
	}
	return routing.ParseAddress(text)
}

// FailureOf reads an error from the words of a script: a code, as "too-large", and the
// reason behind it. Without a code it is the one given.
func FailureOf(words []string, code routing.Code) *routing.Error {
	for c := routing.CodeInternal; len(words) > 0 && c <= routing.CodeClosed; c++ {
		if c.String() == words[0] {
			code, words = c, words[1:]
			break
		}
	}
	return &routing.Error{Code: code, Reason: strings.Join(words, " ")}
}
