package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// sample is what one run of a load came to.
type sample struct {
	sent, received   float64 // a second
	confirm, deliver quantile
	batch            float64 // entries of a record
	cpu              float64 // of all nodes for a message, in µs
	others, stolen   float64 // cores that others used, and that the host did not give
}

func (s *sample) String() string {
	return fmt.Sprintf("sent %.0f/s, received %.0f/s, confirmation %.2f / %.2f ms, %.1f µs, others %.2f, stolen %.2f",
		s.sent, s.received, s.confirm.P50, s.confirm.P99, s.cpu, s.others, s.stolen)
}

// result is what is read of the output of selvedge bench --json.
type result struct {
	Sends      float64  `json:"sends_per_second"`
	Deliveries float64  `json:"deliveries_per_second"`
	Confirmed  float64  `json:"confirmed"`
	Confirm    quantile `json:"confirm_latency"`
	Deliver    quantile `json:"delivery_latency"`
}

type quantile struct {
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
}

// meters are what is read before and after a run.
type meters struct {
	nodes          time.Duration // processor time of the nodes
	entries, count float64       // of the records of the log
	machine        machineTime
}

// measure runs one load against fresh nodes: first for a while that does not count,
// with queues of its own.
func (b *bed) measure(ctx context.Context, l load, o options) (s *sample, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*(o.warmup+o.duration)+time.Minute)
	defer cancel()
	c, err := b.start(ctx, l.nodes, o.profile != "")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	args := strings.Fields(c.expand(l.args))
	if o.warmup > 0 {
		first := append([]string{"warmup", "--duration", o.warmup.String()}, args...)
		if l.sendsAlone() {
			first = append(first, "--consumers", "1") // what it sends is not to stay
		}
		if _, _, err := b.bench(ctx, first); err != nil {
			return nil, err
		}
	}
	before, err := c.read(ctx)
	if err != nil {
		return nil, err
	}
	taken := c.takeProfile(ctx, o)
	r, own, err := b.bench(ctx, append([]string{"--duration", o.duration.String()}, args...))
	if err = errors.Join(err, <-taken); err != nil {
		return nil, err
	}
	after, err := c.read(ctx)
	if err != nil {
		return nil, err
	}
	s = &sample{sent: r.Sends, received: r.Deliveries, confirm: r.Confirm, deliver: r.Deliver}
	used := after.nodes - before.nodes
	s.cpu = float64(used.Microseconds()) / r.Confirmed
	s.batch = (after.entries - before.entries) / max(after.count-before.count, 1)
	s.others, s.stolen = after.machine.since(before.machine, used+own)
	return s, nil
}

// sendsAlone says that nobody takes what is sent.
func (l load) sendsAlone() bool { return strings.Contains(l.args, "--consumers 0") }

// bench runs selvedge bench and returns what it printed, and the processor time
// that it used itself. A check of the bench that fails is an error.
func (b *bed) bench(ctx context.Context, args []string) (*result, time.Duration, error) {
	cmd := exec.CommandContext(ctx, b.binary, append([]string{"bench", "--json", "--quiet"}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		words := string(out)
		if e, ok := errors.AsType[*exec.ExitError](err); ok {
			words += string(e.Stderr)
		}
		return nil, 0, fmt.Errorf("bench: %w\n%s", err, words)
	}
	r := &result{}
	if err := json.Unmarshal(out, r); err != nil {
		return nil, 0, err
	}
	if r.Confirmed == 0 {
		return nil, 0, errors.New("bench: nothing was confirmed")
	}
	return r, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}
