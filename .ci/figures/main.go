// Command figures measures the table of docs/performance.md: it builds the
// binary, runs each load against a node alone and against three nodes on this
// machine, and prints the rows as Markdown. The cores are shared by the nodes
// and the clients.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// load is one row: the arguments of selvedge bench, in which $A and $B stand for
// the addresses of two nodes.
type load struct {
	name  string
	nodes int
	args  string
}

var loads = []load{
	{"T1 STOMP, one producer, one consumer", 1, "--servers $stompA"},
	{"T2 STOMP, four of each, four queues", 1, "--servers $stompA --producers 4 --consumers 4 --queues 4"},
	{"S1 STOMP, sends alone", 1, "--servers $stompA --consumers 0"},
	{"T1 AMQP, one producer, one consumer", 1, "--protocol amqp --servers $amqpA"},
	{"T3 AMQP, four of each, four queues", 1, "--protocol amqp --servers $amqpA --producers 4 --consumers 4 --queues 4"},
	{"S2 AMQP, sends alone", 1, "--protocol amqp --servers $amqpA --consumers 0"},
	{"T5 STOMP, non-persistent", 1, "--servers $stompA --no-persistent"},
	{"T6 STOMP, 64 KiB", 1, "--servers $stompA --size 65536 --window 100"},
	{"L1 STOMP, one unconfirmed", 1, "--servers $stompA --window 1"},
	{"L2 STOMP, 1,000 a second", 1, "--servers $stompA --rate 1000"},
	{"L2 AMQP, 1,000 a second", 1, "--protocol amqp --servers $amqpA --rate 1000"},
	{"T1 STOMP, one producer, one consumer", 3, "--servers $stompA --consumer-servers $stompB"},
	{"T2 STOMP, four of each, four queues", 3, "--servers $stompA,$stompB --consumer-servers $stompB,$stompA --producers 4 --consumers 4 --queues 4"},
	{"T4 STOMP in at A, AMQP out at B", 3, "--servers $stompA --consumer-protocol amqp --consumer-servers $amqpB"},
	{"L1 STOMP, one unconfirmed", 3, "--servers $stompA --consumer-servers $stompB --window 1"},
	{"L2 STOMP, 1,000 a second", 3, "--servers $stompA --consumer-servers $stompB --rate 1000"},
}

// result is what is read of the output of selvedge bench --json.
type result struct {
	Sends      float64  `json:"sends_per_second"`
	Deliveries float64  `json:"deliveries_per_second"`
	Seconds    float64  `json:"seconds"`
	Confirmed  float64  `json:"confirmed"`
	Confirm    quantile `json:"confirm_latency"`
	Deliver    quantile `json:"delivery_latency"`
	Failed     []string `json:"failed"`
}

type quantile struct {
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
}

func main() {
	d := flag.Duration("duration", 10*time.Second, "of each load")
	only := flag.String("only", "", "measure the rows that begin so, T1 for example")
	flag.Parse()
	if err := run(*d, *only); err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
}

func run(d time.Duration, only string) error {
	dir, err := os.MkdirTemp("", "selvedge-figures-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "selvedge")
	build := exec.Command("go", "build", "-o", binary, "./cmd/selvedge")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build: %w", err)
	}
	fmt.Println("| load | nodes | sent a second | received a second | confirmation p50 / p99 | receipt p50 / p99 | mean batch | node CPU a message |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
	for i, l := range loads {
		if !strings.HasPrefix(l.name, only) {
			continue
		}
		if err := measure(binary, filepath.Join(dir, strconv.Itoa(i)), l, d); err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
	}
	return nil
}

// measure runs one load against fresh nodes and prints its row.
func measure(binary, dir string, l load, d time.Duration) (err error) {
	c, err := start(binary, dir, l.nodes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	before, err := c.cpu()
	if err != nil {
		return err
	}
	args := append([]string{"bench", "--json", "--quiet", "--duration", d.String()}, strings.Fields(c.expand(l.args))...)
	out, err := exec.Command(binary, args...).Output()
	if err != nil {
		return fmt.Errorf("bench: %w\n%s", err, out)
	}
	after, err := c.cpu()
	if err != nil {
		return err
	}
	var r result
	if err := json.Unmarshal(out, &r); err != nil {
		return err
	}
	batch, err := c.meanBatch()
	if err != nil {
		return err
	}
	received := "–"
	if r.Deliveries > 0 {
		received = fmt.Sprintf("%.0f", r.Deliveries)
	}
	fmt.Printf("| %s | %d | %.0f | %s | %.2f / %.2f ms | %.2f / %.2f ms | %.1f | %.1f µs |\n", l.name, l.nodes, r.Sends, received,
		r.Confirm.P50, r.Confirm.P99, r.Deliver.P50, r.Deliver.P99, batch, float64((after-before).Microseconds())/r.Confirmed)
	return nil
}

// cluster is a number of nodes on loopback.
type cluster struct {
	nodes []node
}

type node struct {
	cmd   *exec.Cmd
	ready struct{ STOMP, AMQP, HTTP string }
}

// firstPort is the first of the ports between the nodes; the others are free ones.
const firstPort = 26221

func start(binary, dir string, n int) (*cluster, error) {
	c := &cluster{}
	var seeds []string
	for i := range n {
		seeds = append(seeds, fmt.Sprintf("127.0.0.1:%d", firstPort+i))
	}
	var outs []io.Reader
	for i := range n {
		args := []string{"serve", "--data", filepath.Join(dir, strconv.Itoa(i)), "--node", "n" + strconv.Itoa(i), "--log-level", "warn",
			"--stomp", "127.0.0.1:0", "--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0"}
		if n > 1 {
			args = append(args, "--cluster", seeds[i], "--seeds", strings.Join(seeds, ","), "--secret", "a secret of the figures")
		}
		cmd := exec.Command(binary, args...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if err := cmd.Start(); err != nil {
			return nil, errors.Join(err, c.stop())
		}
		c.nodes = append(c.nodes, node{cmd: cmd})
		outs = append(outs, out)
	}
	for i := range c.nodes {
		line, err := bufio.NewReader(outs[i]).ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, &c.nodes[i].ready)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("node %d does not begin: %w", i, err), c.stop())
		}
	}
	return c, c.awaitHealthy(binary)
}

// awaitHealthy waits until all nodes are there and a second is over in which the
// leaders spread.
func (c *cluster) awaitHealthy(binary string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return errors.New("the nodes do not become healthy")
		case <-t.C:
		}
		out, err := exec.CommandContext(ctx, binary, "status", "--json", "--http", c.nodes[0].ready.HTTP).Output()
		if err == nil && strings.Count(string(out), `"stomp"`) >= len(c.nodes) {
			return nil
		}
	}
}

func (c *cluster) stop() error {
	var errs []error
	for _, n := range c.nodes {
		errs = append(errs, n.cmd.Process.Signal(syscall.SIGTERM))
	}
	for _, n := range c.nodes {
		errs = append(errs, n.cmd.Wait())
	}
	return errors.Join(errs...)
}

func (c *cluster) expand(args string) string {
	a, b := c.nodes[0].ready, c.nodes[min(1, len(c.nodes)-1)].ready
	return os.Expand(args, func(name string) string {
		return map[string]string{"stompA": a.STOMP, "stompB": b.STOMP, "amqpA": a.AMQP, "amqpB": b.AMQP}[name]
	})
}

// cpu is the processor time that the nodes used so far.
func (c *cluster) cpu() (time.Duration, error) {
	const tick = 10 * time.Millisecond // USER_HZ
	var sum time.Duration
	for _, n := range c.nodes {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.cmd.Process.Pid))
		if err != nil {
			return 0, err
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		fields := strings.Fields(rest)
		for _, f := range fields[11:13] { // utime and stime
			ticks, err := strconv.Atoi(f)
			if err != nil {
				return 0, err
			}
			sum += time.Duration(ticks) * tick
		}
	}
	return sum, nil
}

// meanBatch is how many entries a record of the log held.
func (c *cluster) meanBatch() (float64, error) {
	var sum, count float64
	for _, n := range c.nodes {
		resp, err := http.Get("http://" + n.ready.HTTP + "/metrics")
		if err != nil {
			return 0, err
		}
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), " ")
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				continue
			}
			switch name {
			case "selvedge_engine_batch_entries_sum":
				sum += v
			case "selvedge_engine_batch_entries_count":
				count += v
			}
		}
		if err := errors.Join(lines.Err(), resp.Body.Close()); err != nil {
			return 0, err
		}
	}
	return sum / max(count, 1), nil
}
