package integration

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

// Octets that open a connection.
const (
	stompConnect = "CONNECT\naccept-version:1.2\nhost:x\n\n\x00"
	saslHeader   = "AMQP\x03\x01\x00\x00"
	amqpHeader   = "AMQP\x00\x01\x00\x00"
	// saslInit chooses ANONYMOUS, amqpOpen is of a container "c". [transport 2.7.1]
	saslInit = "\x00\x00\x00\x19\x02\x01\x00\x00\x00\x53\x41\xc0\x0c\x01\xa3\x09ANONYMOUS"
	amqpOpen = "\x00\x00\x00\x11\x02\x00\x00\x00\x00\x53\x10\xc0\x04\x01\xa1\x01c"
	// amqpLogin is all that comes before the frames of a connection.
	amqpLogin = saslHeader + saslInit + amqpHeader + amqpOpen
)

// What no client should send is answered by a word that says what is wrong, where
// the protocol has one, and costs its own connection alone.
func TestBadInputIsAnswered(t *testing.T) {
	n := harness.Start(t, harness.Options{Args: []string{"--login-timeout", "5s"}})
	for _, c := range []struct {
		name, addr, in string
		want           string // part of the answer
	}{
		{"HTTP on the port of STOMP", n.STOMP, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "this is no STOMP"},
		{"AMQP on the port of STOMP", n.STOMP, saslHeader, "this is no STOMP"},
		{"noise on the port of STOMP", n.STOMP, "\x00\xff\xfe noise \x01", "this is no STOMP"},
		{"a message before the login", n.STOMP, "SEND\ndestination:/queue/bad\n\nx\x00", "before CONNECT"},
		{"a body larger than allowed", n.STOMP, stompConnect + "SEND\ndestination:/queue/bad\ncontent-length:9999999999\n\nx", "maximum data length"},
		{"a length that no integer holds", n.STOMP, stompConnect + "SEND\ndestination:/queue/bad\ncontent-length:99999999999999999999\n\nx", "maximum data length"},
		{"a length below nothing", n.STOMP, stompConnect + "SEND\ndestination:/queue/bad\ncontent-length:-1\n\nx\x00", "not a valid integer"},
		{"a header without end", n.STOMP, stompConnect + "SEND\ndestination:" + strings.Repeat("x", 1<<20), "maximum header length"},
		{"half a frame of STOMP", n.STOMP, stompConnect + "SEND\ndestination:/queue/bad\ncontent-length:100\n\nhalf", "CONNECTED"},
		{"STOMP on the port of AMQP", n.AMQP, stompConnect, amqpHeader},
		{"AMQP 0-9-1 on the port of AMQP 1.0", n.AMQP, "AMQP\x00\x00\x09\x01", amqpHeader},
		{"a frame larger than agreed", n.AMQP, amqpLogin + "\x7f\xff\xff\xff\x02\x00\x00\x00", "a frame has 2147483647 bytes, at most"},
		{"a frame smaller than its header", n.AMQP, amqpLogin + "\x00\x00\x00\x04\x02\x00\x00\x00", "smaller than its header"},
		{"a frame of noise", n.AMQP, amqpLogin + "\x00\x00\x00\x0c\x02\x00\x00\x00\xff\xfe\xfd\xfc", "amqp:decode-error"},
		{"a list larger than its frame", n.AMQP, amqpLogin + "\x00\x00\x00\x14\x02\x00\x00\x00\x00\x53\x11\xd0\xff\xff\xff\xf0\xff\xff\xff\xff", "a size is larger than what encloses it"},
		{"a transfer without a session", n.AMQP, amqpLogin + "\x00\x00\x00\x0f\x02\x00\x00\x05\x00\x53\x14\xc0\x02\x01\x43", "which has no session"},
		{"half a frame of AMQP", n.AMQP, amqpLogin + "\x00\x00\x01\x00\x02\x00\x00\x00half", amqpHeader},
		{"STOMP on the port of HTTP", n.HTTP, stompConnect, "400 Bad Request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := answer(t, c.addr, c.in, c.want); !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q in it", got, c.want)
			}
		})
	}
	if lines, _, err := n.Logged(0, "panic"); err != nil || len(lines) > 0 {
		t.Errorf("got the lines %q, error %v, want no panic", lines, err)
	}
	fillQueues(t, n.STOMP, "good", 1)
	takeOne(t, n, queueName("good", 0))
	if _, err := harness.Look(n.HTTP, "bad"); err == nil {
		t.Error("half a message made a queue")
	}
}

// answer writes octets and returns what comes back, up to what is wanted or to the
// end of the connection; then it leaves in the middle of whatever it has begun.
func answer(t *testing.T, addr, in, want string) string {
	t.Helper()
	ctx := shortly(t)
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	deadline, _ := ctx.Deadline()
	if err := nc.SetDeadline(deadline); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(nc, in) // the broker may have closed in the middle
	var out strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(out.String(), want) {
		n, err := nc.Read(buf)
		out.Write(buf[:n])
		if err != nil {
			t.Logf("the end of the answer: %v", err)
			break
		}
	}
	return out.String()
}

// A node that cannot serve says why, in words for who started it, and ends with an
// exit code of its own.
func TestBadSettingsEndTheProcess(t *testing.T) {
	inUse := harness.Start(t, harness.Options{})
	for _, c := range []struct {
		name string
		// args prepares a folder and returns arguments of serve.
		args func(t *testing.T, dir string) []string
		want string
	}{
		{"a port in use", func(*testing.T, string) []string { return []string{"--amqp", inUse.AMQP} }, "address already in use (choose another address by --amqp)"},
		{"a folder in use", func(*testing.T, string) []string { return []string{"--data", inUse.Data()} }, "is in use by another process"},
		{"a folder that is a file", func(t *testing.T, dir string) []string {
			t.Helper()
			return []string{"--data", kept(t, dir, "file", "x")}
		}, "not a directory (choose another folder by --data)"},
		{"a folder on a disk that is read-only", func(t *testing.T, dir string) []string {
			t.Helper()
			return []string{"--data", mounted(t, dir, "ro,size=1m")}
		}, "read-only file system (choose another folder by --data)"},
		{"a damaged marker of the folder", func(t *testing.T, dir string) []string {
			t.Helper()
			kept(t, dir, "selvedge.json", "{")
			return []string{"--data", dir}
		}, "selvedge.json is damaged: restore that file, or use another folder"},
		{"a configuration that is no YAML", configured("stomp: ["), "not valid YAML"},
		{"a configuration of noise", configured("\x00\xff\xfe\x01noise"), "noise.yaml:1: "},
		{"a configuration cut off", configured("users:\n  - name: a\n    pass"), "noise.yaml:"},
		{"a setting that does not exist", configured("send-timeuot: 5s\n"), `unknown key "send-timeuot"`},
		{"a value that makes no sense", configured("send-timeout: soon\n"), `"soon" is not a duration: write for example`},
		{"no configuration at all", func(_ *testing.T, dir string) []string {
			return []string{"--config", filepath.Join(dir, "none.yaml")}
		}, "no such file or directory"},
		{"a cluster without a secret", func(t *testing.T, _ string) []string {
			t.Helper()
			return []string{"--cluster", harness.Addr(t), "--seeds", "127.0.0.1:1"}
		}, "secret"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := harness.Dir(t)
			n := harness.New(t, harness.Options{Name: "b", Args: c.args(t, dir)})
			n.Launch()
			refusedToServe(t, n, c.want)
		})
	}
	fillQueues(t, inUse.STOMP, "good", 1)
	takeOne(t, inUse, queueName("good", 0))
}

// refusedToServe waits for the end of a process and checks what it said and how it
// ended.
func refusedToServe(t *testing.T, n *harness.Node, want string) {
	t.Helper()
	if code := n.ExitCode(); code != 1 {
		t.Errorf("exit code: got %d, want 1", code)
	}
	all, _, err := n.Logged(0, "")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(all, "\n")
	if !strings.Contains(text, "selvedge: ") || !strings.Contains(text, want) {
		t.Errorf("got\n%s\nwant %q in it", text, want)
	}
	if strings.Contains(text, "panic") || strings.Contains(text, "goroutine ") {
		t.Errorf("got a panic:\n%s", text)
	}
}

// kept writes a file in a folder and returns its path.
func kept(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// configured returns arguments for a configuration with that text.
func configured(text string) func(*testing.T, string) []string {
	return func(t *testing.T, dir string) []string {
		t.Helper()
		return []string{"--config", kept(t, dir, "noise.yaml", text)}
	}
}

// Nodes whose secrets differ refuse each other and say so; neither serves.
func TestWrongSecretIsTold(t *testing.T) {
	seeds := []string{harness.Addr(t), harness.Addr(t)}
	var nodes []*harness.Node
	for i, name := range []string{"a", "b"} {
		n := harness.New(t, harness.Options{Name: name, Cluster: seeds[i], ClusterName: "loom", Secret: "secret of " + name, Seeds: seeds})
		n.Launch()
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		harness.Until(t, "a line about the secret in the log of "+n.Name, func() (string, bool) {
			lines, _, err := n.Logged(0, "its secret differs from ours", "its cluster name or secret differs from ours")
			return fmt.Sprintf("%d lines, error %v", len(lines), err), len(lines) > 0
		})
		if lines, _, err := n.Logged(0, "secret of "); err != nil || len(lines) > 0 {
			t.Errorf("node %s: got a secret in its log, error %v", n.Name, err)
		}
	}
	for _, n := range nodes {
		view, err := harness.LookNodes(n.HTTP)
		if err != nil || view.Quorum {
			t.Errorf("node %s: got %+v, error %v, want no quorum", n.Name, view, err)
		}
		n.Stop()
	}
}
