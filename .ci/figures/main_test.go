package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// double is a stage on which each run comes to what of says.
type double struct {
	calls []string
	of    func(l load, run int) *sample
	runs  map[string]int
}

func (d *double) measure(_ context.Context, l load, _ options) (*sample, error) {
	key := fmt.Sprint(l.name, l.nodes)
	d.calls = append(d.calls, l.name)
	s := d.of(l, d.runs[key])
	d.runs[key]++
	if s == nil {
		return nil, errors.New("bench: exit status 1")
	}
	return s, nil
}

func (d *double) describe() string { return "A double." }

// good is a run that keeps all limits.
func good(load, int) *sample {
	s := &sample{sent: 200_000, received: 150_000, batch: 10, cpu: 8}
	s.confirm.P50, s.confirm.P99, s.deliver.P50, s.deliver.P99 = 0.5, 2, 0.6, 3
	return s
}

// measured runs the rows that begin with only.
func measured(only string, runs int, of func(l load, run int) *sample) (table string, calls []string, err error) {
	var out strings.Builder
	d := &double{of: of, runs: map[string]int{}}
	err = run(context.Background(), options{duration: time.Second, runs: runs, only: only}, d, &out, io.Discard)
	return out.String(), d.calls, err
}

// The table was printed, and the exit code was 0, at any speed.
func TestAMissedLimitIsAnError(t *testing.T) {
	if _, _, err := measured("", 3, good); err != nil {
		t.Errorf("all limits are kept: got %v, want no error", err)
	}
	for _, c := range []struct {
		name, row string
		nodes     int
		spoil     func(*sample)
		want      string
	}{
		{"slow sends over STOMP", "S1", 1, func(s *sample) { s.sent = 99_999 }, "S1 STOMP, sends alone: got 99999 (99999–99999), want sent ≥ 100000"},
		{"slow sends over AMQP", "S2", 1, func(s *sample) { s.sent = 99_999 }, "want sent ≥ 100000"},
		{"a slow queue", "T1 AMQP", 1, func(s *sample) { s.received = 69_999 }, "want received ≥ 70000"},
		{"slow without persistence", "T5", 1, func(s *sample) { s.received = 149_999 }, "want received ≥ 150000 as T1 STOMP"},
		{"a slow median", "L2 AMQP", 1, func(s *sample) { s.confirm.P50 = 1 }, "want confirmation p50 < 1 ms"},
		{"a slow tail", "L2 STOMP", 1, func(s *sample) { s.confirm.P99 = 5 }, "want confirmation p99 < 5 ms"},
		{"slow replicas", "T4", 3, func(s *sample) { s.received = 29_999 }, "T4 STOMP in at A, AMQP out at B (3 nodes): got 29999"},
		{"costly", "T2", 1, func(s *sample) { s.cpu = 12.1 }, "want node CPU ≤ 12 µs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			table, _, err := measured("", 3, func(l load, n int) *sample {
				s := good(l, n)
				if strings.HasPrefix(l.name, c.row) && l.nodes == c.nodes {
					c.spoil(s)
				}
				return s
			})
			if !errors.Is(err, errMissed) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got the error %v, want %s", err, c.want)
			}
			if got := strings.Count(table, "missed"); got != 1 {
				t.Errorf("got %d limits missed in the table, want 1:\n%s", got, table)
			}
		})
	}
}

// A row shows the middle of its runs, and one run that went badly misses no limit.
func TestTheMedianCounts(t *testing.T) {
	sends := func(list ...float64) func(load, int) *sample {
		return func(l load, run int) *sample {
			s := good(l, run)
			s.sent, s.received, s.deliver = list[run], 0, quantile{}
			return s
		}
	}
	for _, c := range []struct {
		name string
		list []float64
		want string
	}{
		{"of three", []float64{150_000, 90_000, 110_000}, "| 1 | 110000 (90000–150000) | – | 0.50 (0.50–0.50) ms |"},
		{"of four it is the mean of two", []float64{120_000, 90_000, 110_000, 130_000}, "| 1 | 115000 (90000–130000) |"},
		{"of one there is no spread", []float64{120_000}, "| 1 | 120000 | – | 0.50 ms |"},
	} {
		t.Run(c.name, func(t *testing.T) {
			table, _, err := measured("S1", len(c.list), sends(c.list...))
			if err != nil || !strings.Contains(table, c.want) || !strings.Contains(table, "sent ≥ 100000: met; node CPU ≤ 12 µs: met |") {
				t.Errorf("got the error %v and\n%s\nwant %s", err, table, c.want)
			}
			if strings.Contains(table, "0.00 ms") {
				t.Errorf("got 0.00 for what was not measured, want –:\n%s", table)
			}
		})
	}
}

func TestRoundsAlternate(t *testing.T) {
	_, calls, err := measured("L", 2, good)
	if err != nil {
		t.Fatal(err)
	}
	half := len(calls) / 2
	if len(calls) != 10 || strings.Join(calls[:half], "|") != strings.Join(calls[half:], "|") || calls[0] == calls[1] {
		t.Errorf("got the loads %q, want each once in a round", calls)
	}
}

// What was measured before an error is printed.
func TestARunThatEndsEarlyPrintsWhatItHas(t *testing.T) {
	table, _, err := measured("", 2, func(l load, run int) *sample {
		if l.nodes == 3 {
			return nil
		}
		return good(l, run)
	})
	if err == nil || errors.Is(err, errMissed) || !strings.Contains(err.Error(), "round 1, T1 STOMP, one producer, one consumer (3 nodes): bench: exit status 1") {
		t.Errorf("got the error %v, want that of the run", err)
	}
	if !strings.Contains(table, "| L2 AMQP, 1,000 a second | 1 |") {
		t.Errorf("got\n%s\nwant the rows before the error", table)
	}
}

func TestAComparisonNeedsBoth(t *testing.T) {
	table, _, err := measured("T5", 1, good)
	if err != nil || !strings.Contains(table, "received ≥ as T1 STOMP, one producer, one consumer: not measured") {
		t.Errorf("got the error %v and\n%s\nwant no comparison", err, table)
	}
}

func TestNothingToMeasureIsAnError(t *testing.T) {
	if _, _, err := measured("T9", 3, good); err == nil {
		t.Error("rows that are not there: got no error")
	}
	if _, _, err := measured("T1", 0, good); err == nil {
		t.Error("no runs: got no error")
	}
}

func TestOtherBrokersAreNamedForScale(t *testing.T) {
	table, _, err := measured("S1", 1, good)
	const want = "S1 STOMP, sends alone: 22 times the 8900 a second of RabbitMQ 3.10, at 1/18 of its 140 µs of server CPU a message; " +
		"40 times the 5000 a second of ActiveMQ 5.17, at 1/29 of its 230 µs of server CPU a message."
	if err != nil || !strings.Contains(table, want) {
		t.Errorf("got the error %v and\n%s\nwant %s", err, table, want)
	}
}
