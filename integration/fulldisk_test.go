package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

// mounted mounts a disk in memory below a folder until the end of the test, and
// returns its place; or it skips the test.
func mounted(t *testing.T, dir, options string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a disk of its own is mounted by root alone")
	}
	disk := filepath.Join(dir, "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	ctx := shortly(t)
	if out, err := exec.CommandContext(ctx, "mount", "-t", "tmpfs", "-o", options, "none", disk).CombinedOutput(); err != nil {
		t.Skipf("a disk of its own cannot be mounted here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", disk).CombinedOutput(); err != nil { //nolint:noctx // at the end of the test
			t.Errorf("umount %s: %v: %s", disk, err, out)
		}
	})
	return disk
}

// largeBody is the size of the messages that fill a disk.
const largeBody = 16 << 10

// untilRefused sends persistent messages, each when the one before is confirmed,
// until one is refused or the connection ends: not faster than a node looks at its
// disk, which it does once a second. It returns how many were confirmed, and the
// refusal.
func untilRefused(t *testing.T, addr, queue string) (confirmed int, refusal string) {
	t.Helper()
	const most = 20_000 // more than any of the disks holds
	x := connectRaw(t, addr)
	defer x.nc.Close()
	if err := x.nc.SetDeadline(time.Now().Add(harness.Patience)); err != nil {
		t.Fatal(err)
	}
	for confirmed < most {
		// Of a write that fails the node has said why.
		_, _ = fmt.Fprintf(x.nc, "SEND\ndestination:/queue/%s\npersistent:true\nreceipt:%d\n\n%-*d\x00", queue, confirmed, largeBody, confirmed)
		switch command, message := x.frame(t); command {
		case "RECEIPT":
			confirmed++
		case "ERROR":
			return confirmed, message
		default:
			return confirmed, command
		}
	}
	t.Fatal("the disk was never full")
	return confirmed, ""
}

// takeAll receives the first messages of a queue, count of them, and checks that
// they are all there, in order.
func takeAll(t *testing.T, n *harness.Node, queue string, count int) {
	t.Helper()
	x := subscribeRaw(t, n.STOMP, queue, "ack:auto")
	defer x.nc.Close()
	for i := range count {
		text, err := x.in.ReadString(0)
		_, body, _ := strings.Cut(text, "\n\n")
		if got := strings.TrimRight(body, " \x00"); err != nil || got != fmt.Sprint(i) {
			t.Fatalf("message %d of %d: got %q, error %v", i, count, got, err)
		}
	}
}

// A disk that is nearly full, whose logs have no room, or where a write fails:
// sends are refused with the reason, what was confirmed stays, and there are room and
// messages again when somebody made room.
func TestFullDiskLosesNothing(t *testing.T) {
	beside(t)
	unwatched := []string{"--disk-low", "0", "--disk-full", "0", "--send-timeout", "3s"}
	for _, c := range []struct {
		name, options string
		args          []string
		ballast       int // bytes of another program that come after the start
		want          string
	}{
		{"nearly full", "size=300m", []string{"--disk-low", "0", "--send-timeout", "3s"}, 0, "the disk of node a is nearly full (disk-full)"},
		{"no room for the logs", "size=64m", unwatched, 0, "the disk of the node that leads the queue is full"},
		{"a write fails", "size=64m", unwatched, 40 << 20, "its storage takes no more writes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := mounted(t, harness.Dir(t), c.options)
			n := harness.Start(t, harness.Options{Args: append(c.args, "--data", filepath.Join(disk, "data"))})
			ballast := kept(t, disk, "ballast", strings.Repeat("x", c.ballast))
			confirmed, refusal := untilRefused(t, n.STOMP, "full")
			measured(t, "%s: refused after %d messages: %q", t.Name(), confirmed, refusal)
			if confirmed == 0 || !strings.Contains(refusal, c.want) {
				t.Errorf("got %d confirmed, then %q, want some and %q", confirmed, refusal, c.want)
			}
			if c.ballast > 0 {
				awaitLine(t, n, "no space left on device")
				awaitFailure(t, n)
			}
			n.Kill()
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.CommandContext(shortly(t), "mount", "-o", "remount,size=700m", disk).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			n.Restart()
			takeAll(t, n, "full", confirmed)
			fillQueues(t, n.STOMP, "good", 1)
			takeOne(t, n, queueName("good", 0))
		})
	}
}

// awaitFailure waits until a node whose storage failed begins again, or has ended: as
// what has failed.
func awaitFailure(t *testing.T, n *harness.Node) {
	t.Helper()
	harness.Until(t, "a new beginning of node "+n.Name+", or its end", func() (string, bool) {
		lines, _, err := n.Logged(0, "node begins again")
		running := n.Running()
		return fmt.Sprintf("%d beginnings, error %v, running %v", len(lines), err, running), len(lines) > 0 || !running
	})
	if n.Running() {
		return
	}
	if code := n.ExitCode(); code == 0 {
		t.Error("exit code of a node whose storage failed: got 0, want another one")
	}
}

// awaitLine waits for a line in a node's log.
func awaitLine(t *testing.T, n *harness.Node, text string) {
	t.Helper()
	harness.Until(t, fmt.Sprintf("%q in the log of node %s", text, n.Name), func() (string, bool) {
		lines, _, err := n.Logged(0, text)
		return fmt.Sprintf("%d lines, error %v", len(lines), err), len(lines) > 0
	})
}
