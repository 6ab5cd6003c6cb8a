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
