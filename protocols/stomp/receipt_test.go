package stomp

import (
	"strings"
	"testing"
	"testing/synctest"
)

// A receipt may be as long as a header line, which is 64 KiB by default.
func TestSTOMP_Receipt_07_AsLongAsAHeaderMayBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := named(t, Options{}, nil)
		defer s.close()
		s.say("1", connected12)
		id := strings.Repeat("r", 64<<10-len("receipt:"))
		if got, want := s.say("1", "SEND\ndestination:/queue/a\nreceipt:"+id+"\n\nx\x00"), "RECEIPT\nreceipt-id:"+id+"\n\n\x00\n"; got != want {
			t.Errorf("got %d octets that begin with %.60q, want the receipt of %d octets", len(got), got, len(id))
		}
	})
}

// A receipt whose name has a CR in it, as 1.0 allows, came back without its name: the
// client waited for it. The name of a subscription was left out, too.
func TestSTOMP10_Receipt_07_ACarriageReturnComesBack(t *testing.T) {
	for _, c := range []struct{ name, send, want string }{
		{name: "in RECEIPT", send: "SEND\ndestination:/queue/a\nreceipt:a\rb:c\n\nx\x00", want: "RECEIPT\nreceipt-id:a\rb:c\n\n\x00\n"},
		{name: "at the end", send: "SEND\ndestination:/queue/a\nreceipt:a\r\r\n\nx\x00", want: "RECEIPT\nreceipt-id:a\r\n\n\x00\n"},
		{name: "as a subscription", send: "SUBSCRIBE\ndestination:/queue/a\nid:a\rb\n\n\x00SEND\ndestination:/queue/a\n\nx\x00", want: "subscription:a\rb\n"},
		{name: "in ERROR", send: "BOGUS\nreceipt:a\rb\n\n\x00", want: "receipt-id:a\rb\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := named(t, Options{}, nil)
				defer s.close()
				s.say("1", "CONNECT\n\n\x00")
				if got := s.say("1", c.send); !strings.Contains(got, c.want) {
					t.Errorf("got %q, want %q in it", got, c.want)
				}
			})
		})
	}
}
