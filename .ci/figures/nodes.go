package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cluster is a number of nodes on loopback, in a folder of their own.
type cluster struct {
	dir   string
	nodes []node
}

type node struct {
	cmd   *exec.Cmd
	log   string // where its standard error goes
	ready struct{ STOMP, AMQP, HTTP string }
}

const (
	// firstPort is where the search for ports between the nodes begins, below those
	// that the system gives to clients; the other ports are free ones.
	firstPort, lastPort = 26221, 29999
	// healthyWithin bounds the beginning of nodes, stopWithin their end.
	healthyWithin = time.Minute
	stopWithin    = 30 * time.Second
)

// start starts n nodes and waits until they are healthy. They have profiles or not.
func (b *bed) start(ctx context.Context, n int, profiles bool) (*cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, healthyWithin)
	defer cancel()
	b.begun++
	c := &cluster{dir: filepath.Join(b.dir, strconv.Itoa(b.begun))}
	seeds, err := unused(ctx, n)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		return nil, err
	}
	var outs []io.Reader
	for i := range n {
		data := filepath.Join(c.dir, strconv.Itoa(i))
		args := []string{
			"serve", "--data", data, "--node", "n" + strconv.Itoa(i), "--log-level", "warn",
			"--stomp", "127.0.0.1:0", "--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--pprof", strconv.FormatBool(profiles),
		}
		if n > 1 {
			args = append(args, "--cluster", seeds[i], "--seeds", strings.Join(seeds, ","), "--secret", "a secret of the figures")
		}
		one := node{cmd: exec.Command(b.binary, args...), log: data + ".log"}
		out, err := one.begin()
		if err != nil {
			return nil, errors.Join(err, c.stop())
		}
		c.nodes = append(c.nodes, one)
		outs = append(outs, out)
	}
	if err := c.await(ctx, b.binary, outs); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

// unused returns addresses of loopback on which nobody listens.
func unused(ctx context.Context, n int) (addrs []string, err error) {
	var lc net.ListenConfig
	for port := firstPort; port <= lastPort && len(addrs) < n; port++ {
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		var l net.Listener
		if l, err = lc.Listen(ctx, "tcp", addr); err == nil {
			addrs, err = append(addrs, addr), l.Close()
		}
	}
	if len(addrs) < n {
		return nil, fmt.Errorf("ports between the nodes: none is free from %d to %d: %w", firstPort, lastPort, err)
	}
	return addrs, nil
}

// begin starts the process and returns its output.
func (n node) begin() (io.Reader, error) {
	log, err := os.Create(n.log)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the process has its own
	n.cmd.Stderr = log
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return out, n.cmd.Start()
}

// lastWords is the end of what the node has logged.
func (n node) lastWords() string {
	const most = 1000
	b, err := os.ReadFile(n.log)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b[max(0, len(b)-most):]))
}

// await reads the ready line of each node, then waits until all nodes are there and
// a second is over in which the leaders spread.
func (c *cluster) await(ctx context.Context, binary string, outs []io.Reader) error {
	defer context.AfterFunc(ctx, c.kill)() // frees a read
	for i := range c.nodes {
		line, err := bufio.NewReader(outs[i]).ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, &c.nodes[i].ready)
		}
		if err != nil {
			return fmt.Errorf("node %d does not begin: %w: %s", i, err, c.nodes[i].lastWords())
		}
	}
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the nodes do not become healthy: %w", context.Cause(ctx))
		case <-t.C:
		}
		out, err := exec.CommandContext(ctx, binary, "status", "--json", "--http", c.nodes[0].ready.HTTP).Output()
		if err == nil && strings.Count(string(out), `"stomp"`) >= len(c.nodes) {
			return nil
		}
	}
}

func (c *cluster) kill() {
	for _, n := range c.nodes {
		_ = n.cmd.Process.Kill()
	}
}

// stop ends the nodes in good order, those that take too long at once, and removes
// what they stored.
func (c *cluster) stop() error {
	defer time.AfterFunc(stopWithin, c.kill).Stop()
	var errs []error
	for _, n := range c.nodes {
		_ = n.cmd.Process.Signal(syscall.SIGTERM) // it may have ended; Wait tells how
	}
	for i, n := range c.nodes {
		if err := n.cmd.Wait(); err != nil {
			errs = append(errs, fmt.Errorf("node %d: %w: %s", i, err, n.lastWords()))
		}
	}
	return errors.Join(append(errs, os.RemoveAll(c.dir))...)
}

func (c *cluster) expand(args string) string {
	a, b := c.nodes[0].ready, c.nodes[min(1, len(c.nodes)-1)].ready
	return os.Expand(args, func(name string) string {
		return map[string]string{"stompA": a.STOMP, "stompB": b.STOMP, "amqpA": a.AMQP, "amqpB": b.AMQP}[name]
	})
}

// read reads the meters of the nodes and the machine.
func (c *cluster) read(ctx context.Context) (m meters, err error) {
	for _, n := range c.nodes {
		used, err := n.cpu()
		if err != nil {
			return m, err
		}
		entries, count, err := n.batches(ctx)
		if err != nil {
			return m, err
		}
		m.nodes += used
		m.entries += entries
		m.count += count
	}
	m.machine, err = readMachine()
	return m, err
}

// cpu is the processor time that the node used so far.
func (n node) cpu() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	var sum time.Duration
	for _, f := range strings.Fields(rest)[11:13] { // utime and stime
		ticks, err := strconv.Atoi(f)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(ticks) * tick
	}
	return sum, nil
}

// batches returns how many entries the records of the log held, and how many records
// there were.
func (n node) batches(ctx context.Context) (entries, count float64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.ready.HTTP+"/metrics", nil)
	if err != nil {
		return 0, 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, 0, err
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
			entries += v
		case "selvedge_engine_batch_entries_count":
			count += v
		}
	}
	return entries, count, errors.Join(lines.Err(), resp.Body.Close())
}
