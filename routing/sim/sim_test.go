package sim_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "run this seed alone, and print its plan")
	traceFlag = flag.Bool("trace", false, "print every event of the run; with -seed")
	seedsFlag = flag.Uint64("seeds", 2000, "number of seeds; 0 for no limit")
	fromFlag  = flag.Uint64("from", 1, "the first seed")
	stepFlag  = flag.Uint64("step", 0, "distance of seeds: a worker runs each of them; 0 starts workers")
	forFlag   = flag.Duration("for", 8*time.Minute, "no seed begins after this time; if -seeds are not done by then, the test fails")

	digestFlag = flag.String("digest", "", "run the seed until its trace has this digest; with -seed")
)

// progressEvery is the time after which a worker says how far it is.
const progressEvery = time.Minute

// cores is how many workers run seeds at the same time. Each is a process of its
// own on one core: goroutines that may run in parallel would not run in the same
// order twice.
var cores = uint64(runtime.NumCPU())

func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(1)
	goleak.VerifyTestMain(m)
}

// outcome is what came of a run.
type outcome struct {
	digest  uint64
	failure string
	lines   []string
	plan    plan
	totals
}

// totals are what happened in one run or many.
type totals struct {
	events, messages, marked, voids, elections, crashes, resets, uploads, read int
}

func (t *totals) add(o totals) {
	t.events += o.events
	t.messages += o.messages
	t.marked += o.marked
	t.voids += o.voids
	t.elections += o.elections
	t.crashes += o.crashes
	t.resets += o.resets
	t.uploads += o.uploads
	t.read += o.read
}

func (t totals) String() string {
	return fmt.Sprintf("%d events, %d messages, %d deliveries marked, %d void records, %d elections, %d ends of processes, %d resets of connections, %d large messages, read %d times",
		t.events, t.messages, t.marked, t.voids, t.elections, t.crashes, t.resets, t.uploads, t.read)
}

// simulate runs a seed.
func simulate(t *testing.T, seed uint64, trace bool) (o outcome) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		w := newWorld(seed, synctest.Wait)
		w.trace = trace
		w.build()
		w.begin()
		w.run()
		o = outcome{digest: w.digest.Sum64(), failure: w.failure, lines: w.lines, plan: w.plan, totals: w.totals()}
		w.end()
	})
	return o
}

// TestSeeds runs seeds until one violates an invariant: -seeds of them, or as many
// as there is time for.
func TestSeeds(t *testing.T) {
	switch {
	case *seedFlag != 0:
		one(t, *seedFlag)
	case *stepFlag != 0:
		work(t)
	default:
		share(t)
	}
}

// one runs a seed and tells all about it.
func one(t *testing.T, seed uint64) {
	t.Helper()
	o := simulate(t, seed, *traceFlag)
	for range mostReplays {
		if *digestFlag == "" || *digestFlag == o.name() {
			break
		}
		o = simulate(t, seed, *traceFlag)
	}
	if len(o.lines) > 0 {
		t.Log("\n" + strings.Join(o.lines, "\n"))
	}
	t.Logf("seed %d: %v\ndigest %s, plan %+v", seed, o.totals, o.name(), o.plan)
	if o.failure != "" {
		t.Errorf("seed %d: %s", seed, o.failure)
	}
}

// mostReplays is how often a seed is run again that has not made the wanted trace.
const mostReplays = 20

// name names the trace of a run.
func (o *outcome) name() string { return fmt.Sprintf("%016x", o.digest) }

// work runs this worker's part of the seeds.
func work(t *testing.T) {
	t.Helper()
	begin, ran, said := time.Now(), 0, time.Now()
	var all totals
	for seed := *fromFlag; *seedsFlag == 0 || seed < *seedsFlag; seed += *stepFlag {
		if time.Since(begin) > *forFlag {
			late(t, seed)
			break
		}
		o := simulate(t, seed, false)
		all.add(o.totals)
		if ran++; o.failure != "" {
			t.Errorf("seed %d: %s\nrun it again: go test ./routing/sim -run 'TestSeeds$' -v -args -seed %d -digest %s -trace", seed, o.failure, seed, o.name())
			break
		}
		if time.Since(said) >= progressEvery {
			said = time.Now()
			_, _ = fmt.Fprintf(os.Stdout, "%s%d seeds in %v, now at seed %d: %v\n", progressMark, ran, said.Sub(begin).Round(time.Second), seed, all)
		}
	}
	t.Logf("%d seeds in %v: %v", ran, time.Since(begin).Round(time.Millisecond), all)
}

// late tells that the time is over before a seed. Who asked for a number of seeds has
// not got them: the machine needs more time, or less to do. Under the race detector
// the number is no promise.
func late(t *testing.T, seed uint64) {
	t.Helper()
	if *seedsFlag == 0 || raceEnabled {
		t.Logf("%v are over before seed %d", *forFlag, seed)
		return
	}
	t.Errorf("%v are over before seed %d, and all below %d were to run: give it more time by -for", *forFlag, seed, *seedsFlag)
}

// share has a worker for each core, and tells what they tell.
func share(t *testing.T) {
	t.Helper()
	seeds := *seedsFlag
	if raceEnabled {
		seeds = min(seeds, seedsUnderRace)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range cores {
		args := []string{
			"-test.run=^TestSeeds$", "-test.v", "-test.timeout=0", "-step", strconv.FormatUint(cores, 10),
			"-from", strconv.FormatUint(*fromFlag+i, 10), "-for", forFlag.String(), "-seeds", "0",
		}
		if seeds > 0 {
			args[len(args)-1] = strconv.FormatUint(*fromFlag+seeds, 10)
		}
		wg.Go(func() {
			out := &report{worker: i}
			cmd := exec.CommandContext(t.Context(), exe, args...)
			cmd.Stdout, cmd.Stderr = out, out
			if err := cmd.Run(); err != nil {
				t.Errorf("worker %d: %v\n%s", i, err, &out.said)
				return
			}
			t.Logf("worker %d:\n%s", i, &out.said)
		})
	}
	wg.Wait()
}

// progressMark begins the lines in which a worker says how far it is.
const progressMark = "progress: "

// report is what a worker says. How far it is is passed on at once, the rest is kept.
type report struct {
	worker uint64
	line   bytes.Buffer // not ended
	said   bytes.Buffer
}

// Write implements io.Writer.
func (r *report) Write(b []byte) (int, error) {
	r.line.Write(b)
	for bytes.IndexByte(r.line.Bytes(), '\n') >= 0 {
		line, _ := r.line.ReadString('\n') // there is one
		if strings.HasPrefix(line, progressMark) {
			_, _ = fmt.Fprintf(os.Stdout, "worker %d: %s", r.worker, line)
		} else {
			r.said.WriteString(line)
		}
	}
	return len(b), nil
}

// A seed makes the same run each time, event by event. What is left to chance is
// which of two things that happen to a goroutine in the same instant it takes up
// first: that is rare, so two of a few runs are the same.
func TestSeeds_AreReplayedEventByEvent(t *testing.T) {
	if raceEnabled {
		t.Skip("skipped: under the race detector the runtime chooses at random which goroutine goes on")
	}
	const seeds, runs = 25, 4
	for seed := range uint64(seeds) {
		seen := map[uint64]bool{}
		for range runs {
			o := simulate(t, seed+1, false)
			if seen[o.digest] {
				break
			}
			seen[o.digest] = true
		}
		if len(seen) == runs {
			t.Errorf("seed %d: got %d different runs", seed+1, runs)
		}
	}
}
