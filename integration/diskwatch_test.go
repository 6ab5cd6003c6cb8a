package integration

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

// The embedded server's own limit was three quarters of what was free at the start: it
// came before the watch of the disk, and refused settlements as well, so that
// consumers could make no room. The watch comes first now, on a disk of any size.
func TestFullDiskStillGivesMessagesOut(t *testing.T) {
	disk := mounted(t, harness.Dir(t), "size=192m")
	n := harness.Start(t, harness.Options{Args: []string{
		"--disk-low", "0", "--disk-full", "40MiB", "--send-timeout", "3s", "--data", filepath.Join(disk, "data"),
	}})
	confirmed, refusal := untilRefused(t, n.STOMP, "full")
	measured(t, "%s: refused after %d messages of %d B: %q", t.Name(), confirmed, largeBody, refusal)
	if !strings.Contains(refusal, "the disk of node a is nearly full (disk-full)") {
		t.Errorf("got %q, want the watch of the disk", refusal)
	}
	if least := 192 << 20 * 3 / 4; confirmed*largeBody < least {
		t.Errorf("got %d B stored, want more than %d, three quarters of the disk", confirmed*largeBody, least)
	}
	takeAll(t, n, "full", confirmed)
	harness.Until(t, "room on the disk", func() (string, bool) {
		view, err := harness.LookNodes(n.HTTP)
		return view.State, err == nil && view.State == "healthy"
	})
	// What is nearly full is told to those who refuse a moment later.
	harness.Until(t, "a send that is taken in", func() (string, bool) {
		x := connectRaw(t, n.STOMP)
		defer x.nc.Close()
		name := queueName("good", 0)
		x.write(t, "SEND\ndestination:/queue/"+name+"\npersistent:true\nreceipt:0\n\n"+name+"\x00")
		command, message := x.frame(t)
		return command + " " + message, command == "RECEIPT"
	})
	takeOne(t, n, queueName("good", 0))
}
