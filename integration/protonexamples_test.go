package integration

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

// protonExamples is where Debian's packages put the sources of Proton's examples.
const protonExamples = "/usr/share/proton/examples"

// protonExample compiles an example of Proton, see [protonProgram].
func protonExample(t *testing.T, dir, source string) string {
	t.Helper()
	return protonProgram(t, dir, filepath.Join(protonExamples, strings.TrimPrefix(filepath.Ext(source), "."), source))
}

// protonProgram compiles a client of Proton for C or C++ and returns the program, or
// skips the test and names the packages that it needs.
func protonProgram(t *testing.T, dir, path string) string {
	t.Helper()
	compiler, libraries := "cc", []string{"-lqpid-proton"}
	if filepath.Ext(path) == ".cpp" {
		compiler, libraries = "c++", []string{"-std=c++17", "-lqpid-proton-cpp"}
	}
	_, err := exec.LookPath(compiler)
	if _, missing := os.Stat(protonExamples); err != nil || missing != nil {
		t.Skip("the clients of Proton cannot be compiled: apt-get install g++ libqpid-proton-cpp12-dev " +
			"libqpid-proton11-dev libqpid-proton11-dev-examples libqpid-proton-cpp12-dev-doc")
	}
	program := filepath.Join(dir, strings.ReplaceAll(filepath.Base(path), ".", "-"))
	out, err := exec.CommandContext(bounded(t), compiler, append([]string{"-O0", "-w", "-o", program, path}, libraries...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("compile %s: %v\n%s", path, err, out)
	}
	return program
}

// saysAll runs a program to its end, and checks what it says.
func saysAll(t *testing.T, words []string, program string, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(shortly(t), program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", filepath.Base(program), err, out)
	}
	for _, w := range words {
		if !strings.Contains(string(out), w) {
			t.Errorf("%s: got %q, want %q in it", filepath.Base(program), out, w)
		}
	}
}

// The examples of Proton for C, which keep all their credit under way; the one that
// aborts half of its messages among them.
func TestAMQP_ProtonC(t *testing.T) {
	n := harness.Start(t, harness.Options{})
	host, port, err := net.SplitHostPort(n.AMQP)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	send, receive := protonExample(t, dir, "send.c"), protonExample(t, dir, "receive.c")
	abort := protonExample(t, dir, "send-abort.c")
	saysAll(t, []string{"1000 messages sent and acknowledged"}, send, host, port, "proton.c", "1000")
	saysAll(t, []string{"1000 messages received"}, receive, host, port, "proton.c", "1000")
	saysAll(t, []string{"10 messages started and aborted"}, abort, host, port, "proton.abort", "10")
	saysAll(t, []string{"1 messages sent and acknowledged"}, send, host, port, "proton.abort", "1")
	harness.AwaitDepth(t, n.HTTP, "proton.c", 0)
}

// The examples of Proton for C++.
func TestAMQP_ProtonCPP(t *testing.T) {
	beside(t)
	n := harness.Start(t, harness.Options{})
	dir := t.TempDir()
	send, receive := protonExample(t, dir, "simple_send.cpp"), protonExample(t, dir, "simple_recv.cpp")
	hello := protonExample(t, dir, "helloworld.cpp")
	url := "//" + n.AMQP
	saysAll(t, []string{"Hello World"}, hello, url, "proton.hello.cpp")
	saysAll(t, []string{"all messages confirmed"}, send, "-a", n.AMQP+"/proton.cpp", "-m", "100")
	saysAll(t, []string{`"sequence"=100`}, receive, "-a", n.AMQP+"/proton.cpp", "-m", "100")
	harness.AwaitDepth(t, n.HTTP, "proton.cpp", 0)
}

// What the examples for C++ do not do: both settle modes, credit one at a time and
// many, and a drain that gives the rest of it back.
func TestAMQP_ProtonCPPModes(t *testing.T) {
	beside(t)
	n := harness.Start(t, harness.Options{})
	client := protonProgram(t, t.TempDir(), "testdata/protonmodes.cpp")
	for _, mode := range []string{"unsettled", "settled"} {
		t.Run(mode, func(t *testing.T) {
			queue := "proton.modes." + mode
			saysAll(t, []string{"drained"}, client, "//"+n.AMQP, queue, mode)
			harness.AwaitDepth(t, n.HTTP, queue, 0)
		})
	}
}

// The examples that send and receive in threads of their own, one of them with credit
// that it grants by hand; and the browser, which is refused.
func TestAMQP_ProtonCPPThreads(t *testing.T) {
	beside(t)
	n := harness.Start(t, harness.Options{})
	dir, url := t.TempDir(), "//"+n.AMQP
	saysAll(t, []string{"500 messages sent and received"}, protonExample(t, dir, "multithreaded_client.cpp"), url, "proton.threads", "500")
	saysAll(t, []string{"1500 messages sent and received"}, protonExample(t, dir, "multithreaded_client_flow_control.cpp"), url, "proton.flow", "500", "3")
	out, err := exec.CommandContext(shortly(t), protonExample(t, dir, "queue_browser.cpp"), url, "proton.threads").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "not-implemented") {
		t.Errorf("got %v: %s, want that browsing is not implemented", err, out)
	}
	for _, queue := range []string{"proton.threads", "proton.flow"} {
		harness.AwaitDepth(t, n.HTTP, queue, 0)
	}
}

// A selector is honored or refused, never ignored; the example client dies of a
// refusal, and without one it waits for more.
func TestAMQP_ProtonCPPSelector(t *testing.T) {
	beside(t)
	n := harness.Start(t, harness.Options{})
	dir := t.TempDir()
	send, receive := protonExample(t, dir, "colour_send.cpp"), protonExample(t, dir, "selected_recv.cpp")
	saysAll(t, []string{"all messages confirmed"}, send, "-a", n.AMQP+"/proton.colours", "-m", "4")
	ctx, stop := context.WithCancel(shortly(t))
	defer stop()
	receiver := exec.CommandContext(ctx, receive, "//"+n.AMQP, "proton.colours")
	var words bytes.Buffer
	receiver.Stderr = &words
	out, err := receiver.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := receiver.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for range 2 {
		if lines.Scan() && !strings.HasPrefix(lines.Text(), "green") {
			t.Errorf("got %q, want green messages alone", lines.Text())
		}
	}
	stop()
	if err := receiver.Wait(); err != nil && words.Len() > 0 && !strings.Contains(words.String(), "not-implemented") &&
		!strings.Contains(words.String(), "not supported") {
		t.Errorf("got %v: %s, want the selector refused or honored", err, words.String())
	}
}

// A request of the example client, which waits for answers at a dynamic address,
// and the example server, which answers to where it is asked to by the relay.
func TestAMQP_ProtonCPPRequests(t *testing.T) {
	beside(t)
	n := harness.Start(t, harness.Options{})
	dir := t.TempDir()
	client, server := protonExample(t, dir, "client.cpp"), protonExample(t, dir, "server.cpp")
	ctx, stop := context.WithCancel(t.Context())
	answering := exec.CommandContext(ctx, server, "//"+n.AMQP, "proton.requests.cpp")
	if err := answering.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stop()
		_ = answering.Wait() // it serves until it is ended
	}()
	saysAll(t, []string{"=> DID GIRE AND GYMBLE IN THE WABE."}, client, "-a", n.AMQP+"/proton.requests.cpp")
}
