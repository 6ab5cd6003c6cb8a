package cluster_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/cluster"
	"github.com/selvedge-mq/selvedge/cluster/clustertest"
	"github.com/selvedge-mq/selvedge/routing/engine"
)

// recordAt is the record that stands at a sequence in the logs of these tests: it
// follows from the sequence alone. Few records fill a block.
func recordAt(seq uint64) []byte {
	r := rand.New(rand.NewPCG(seq, 1))
	size := 8 + r.IntN(1<<(10+r.IntN(10))) // up to half a mebibyte, mostly less
	if seq%8 == 0 {
		size = 256<<10 + r.IntN(256<<10)
	}
	rec := bytes.Repeat([]byte{byte(seq)}, size)
	binary.LittleEndian.PutUint64(rec, seq)
	return rec
}

// writeAndPurge appends count records, some under way at once, and purges the log
// behind itself now and then.
func writeAndPurge(ctx context.Context, l engine.Log, count uint64) error {
	var failed atomic.Pointer[error]
	slots := make(chan struct{}, 8)
	for seq := uint64(1); seq <= count && failed.Load() == nil; seq++ {
		slots <- struct{}{}
		l.Append(seq-1, recordAt(seq), func(_ uint64, err error) {
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
			<-slots
		})
		if seq%15 == 0 {
			if err := l.Purge(ctx, seq-min(seq, rand.Uint64N(60))); err != nil {
				return err
			}
		}
	}
	for range cap(slots) {
		slots <- struct{}{}
	}
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// ways are all of them.
var ways = []string{cluster.ByFiles, cluster.BySome, cluster.ByServer}

// readAll reads all of a log in one of the ways, checks each record, and returns
// the first and the last.
func readAll(ctx context.Context, n *cluster.Node, way string) (first, last uint64, err error) {
	err = n.ScanBy(ctx, 0, way, func(seq uint64, rec []byte) error {
		if first == 0 {
			first = seq
		} else if seq != last+1 {
			return fmt.Errorf("got record %d behind %d", seq, last)
		}
		last = seq
		if !bytes.Equal(rec, recordAt(seq)) {
			return fmt.Errorf("record %d is not the one that was appended: %d octets", seq, len(rec))
		}
		return nil
	})
	if errors.Is(err, engine.ErrPurged) {
		err = nil // a purge overtook the reader, which tells
	}
	return first, last, err
}

// The log is read from its files while the server appends to them, begins new ones,
// replaces them, and removes them: what comes is what comes from the server.
func TestLog_FilesSayWhatTheServerSays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		start func(t *testing.T) (writer *cluster.Node, readers []*cluster.Node)
	}{
		{"a node alone", func(t *testing.T) (*cluster.Node, []*cluster.Node) {
			t.Helper()
			n, err := cluster.Open(t.Context(), cluster.Options{
				Node: "alone", Dir: t.TempDir(), Shards: 1, AppendTimeout: clustertest.Patience, Log: zerolog.New(io.Discard),
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(n.Kill)
			return n, []*cluster.Node{n}
		}},
		{"three nodes", func(t *testing.T) (*cluster.Node, []*cluster.Node) {
			t.Helper()
			k := clustertest.Start(t, 3, func(_ int, o *cluster.Options) { o.Shards = 1 })
			k.WaitHealthy()
			leader := waitTaking(t, k, 0)
			return k.Node(leader), []*cluster.Node{k.Node(leader), k.Node((leader + 1) % 3)}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const count = 250
			writer, readers := c.start(t)
			written := make(chan error, 1)
			go func() { written <- writeAndPurge(t.Context(), writer.Log(0), count) }()
			for reads, done := 0, false; !done; reads++ {
				select {
				case err := <-written:
					if err != nil {
						t.Fatal(err)
					}
					done = true
				default:
				}
				n := readers[reads%len(readers)]
				for _, way := range ways {
					if _, _, err := readAll(t.Context(), n, way); err != nil {
						t.Fatalf("read %d at %s, %s: %v", reads, n.Name(), way, err)
					}
				}
			}
			for _, n := range readers {
				wantAllInFiles(t, n, count)
			}
		})
	}
}

// wantAllInFiles waits until all records of a log stand in a node's files, and checks
// that all readers find them there.
func wantAllInFiles(t *testing.T, n *cluster.Node, count uint64) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(clustertest.Patience)
	for {
		_, next, last, err := n.InFiles(t.Context(), 0)
		if err == nil && last == count && next == count+1 {
			break
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("got the files of %s read up to %d of %d, error %v, want all", n.Name(), next-1, last, err)
		}
	}
	var got [][2]uint64
	for _, way := range ways {
		first, last, err := readAll(t.Context(), n, way)
		if err != nil || last != count {
			t.Errorf("%s at %s: got %d to %d, error %v, want them up to %d", way, n.Name(), first, last, err, count)
		}
		got = append(got, [2]uint64{first, last})
	}
	if len(slices.Compact(got)) != 1 {
		t.Errorf("at %s: got %v from files and from the server, want the same", n.Name(), got)
	}
	for seq := got[0][0]; seq <= count; seq++ {
		if !bytes.Equal(n.InFile(t.Context(), 0, seq), recordAt(seq)) {
			t.Errorf("at %s: record %d alone is not read from the files", n.Name(), seq)
		}
	}
}

// Which replica answers a read is the server's choice, so a new leader that read its
// log by way of the server did not see that its own files are damaged.
func TestLog_DamageOfTheOwnFilesIsSeenByAReplay(t *testing.T) {
	t.Parallel()
	k, want := filled(t)
	victim := k.WaitLeader(0)
	flipFiller(t, files(t, k.Options(victim).Dir, streamBlocks)[0])
	read := func(i int) error {
		r, ok := k.Node(i).Log(0).(engine.Replayer)
		if !ok {
			t.Fatal("the log is not one that replays")
		}
		return r.Replay(t.Context(), func(uint64, []byte) error { return nil })
	}
	for i := range k.Len() {
		if err := read(i); i == victim && !errors.Is(err, cluster.ErrDamaged) || i != victim && err != nil {
			t.Errorf("n%d, the victim is n%d: got %v", i, victim, err)
		}
	}
	if err := receive(t, k.Node(victim).Failed(), "the failure"); !errors.Is(err, cluster.ErrReopen) {
		t.Errorf("got the failure %v, want %v", err, cluster.ErrReopen)
	}
	wantRepaired(t, k, victim, want)
}
