// Command figures measures the table of docs/performance.md: it builds the binary,
// runs each load several times against a node alone or three nodes on this machine,
// round by round, and prints the median of each row as Markdown, beside what the row
// is held to. It ends with 1 when a limit is missed. The cores are shared by the
// nodes and the clients.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// options say what is measured.
type options struct {
	duration time.Duration // of each run
	warmup   time.Duration // of what goes before it, and does not count
	runs     int
	only     string // the rows that begin so
	profile  string // file for a profile of the processor, instead of figures
}

func main() {
	var o options
	flag.DurationVar(&o.duration, "duration", 10*time.Second, "of each run of a load")
	flag.DurationVar(&o.warmup, "warmup", 2*time.Second, "how long each load runs before, on the same nodes, without being counted")
	flag.IntVar(&o.runs, "runs", 3, "how often each load is run; the median counts")
	flag.StringVar(&o.only, "only", "", "measure the rows that begin so, T1 for example")
	flag.StringVar(&o.profile, "profile", "", "instead of figures, run the first of these rows once, and put a profile of its first node's processor time into this file")
	flag.Parse()
	if err := start(o); err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
}

// start measures with real nodes until it is told to stop.
func start(o options) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b, err := openBed(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if o.profile != "" {
		return profile(ctx, o, b, os.Stdout, os.Stderr)
	}
	return run(ctx, o, b, os.Stdout, os.Stderr)
}

// stage is where a load is run: the machine, or a test's double.
type stage interface {
	measure(ctx context.Context, l load, o options) (*sample, error)
	describe() string
}

// settling is what the nodes of a load take to begin and to end, more or less.
const settling = 5 * time.Second

// run measures the loads round by round, so that what the machine does meanwhile
// meets all of them, and prints the table. A run that ends early prints what it has.
func run(ctx context.Context, o options, s stage, out, told io.Writer) error {
	var rows []*row
	for _, l := range chosen(o.only) {
		rows = append(rows, &row{load: l})
	}
	if len(rows) == 0 || o.runs < 1 || o.duration <= 0 || o.warmup < 0 {
		return fmt.Errorf("nothing to measure: rows that begin with %q: %d, runs %d of %v after %v", o.only, len(rows), o.runs, o.duration, o.warmup)
	}
	all := o.runs * len(rows)
	plan := time.Duration(all) * (o.warmup + o.duration + settling)
	ctx, cancel := context.WithTimeoutCause(ctx, 2*plan, fmt.Errorf("given up after %v", 2*plan))
	defer cancel()
	fmt.Fprintf(told, "%d loads, %d runs of %v each: some %v, at most %v\n", len(rows), o.runs, o.duration, plan, 2*plan)
	err := rounds(ctx, o, s, rows, told)
	if rows[0].samples == nil {
		return err
	}
	fmt.Fprintf(out, "%s Runs of each load: %d, of %v, on fresh nodes, after %v that do not count; the median (least–most). %s\n\n",
		s.describe(), o.runs, o.duration, o.warmup, others(rows))
	return errors.Join(err, writeTable(out, rows), writeRatio(out, rows))
}

// chosen returns the loads whose names begin so.
func chosen(begin string) (list []load) {
	for _, l := range loads {
		if strings.HasPrefix(l.name, begin) {
			list = append(list, l)
		}
	}
	return list
}

func rounds(ctx context.Context, o options, s stage, rows []*row, told io.Writer) error {
	begin, done := time.Now(), 0
	for round := range o.runs {
		for i, r := range rows {
			got, err := s.measure(ctx, r.load, o)
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				return fmt.Errorf("round %d, %s: %w", round+1, r.title(), err)
			}
			r.samples = append(r.samples, got)
			done++
			spent := time.Since(begin)
			rest := spent / time.Duration(done) * time.Duration(o.runs*len(rows)-done)
			fmt.Fprintf(told, "round %d of %d, load %d of %d, %s: %v; %v gone, some %v to go\n",
				round+1, o.runs, i+1, len(rows), r.title(), got, spent.Round(time.Second), rest.Round(time.Second))
		}
	}
	return nil
}
