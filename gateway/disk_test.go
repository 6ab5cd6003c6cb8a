package gateway

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/gateway/api"
	"github.com/selvedge-mq/selvedge/gateway/config"
	"github.com/selvedge-mq/selvedge/internal/linetest"
	"github.com/selvedge-mq/selvedge/internal/metrictest"
	"github.com/selvedge-mq/selvedge/routing"
)

// newTestDisk has 100 bytes as low and 10 as full.
func newTestDisk(t *testing.T) *disk {
	t.Helper()
	m, _ := newMetrics("n1", "test")
	return newDisk(&config.Config{Node: "n1", Data: t.TempDir(), Storage: config.Switch{On: true}, DiskLow: 100, DiskFull: 10}, m, zerolog.Nop())
}

func TestDiskStates(t *testing.T) {
	for _, tt := range []struct {
		name string
		free uint64
		err  error
		want api.DiskState
	}{
		{"room", 100, nil, api.DiskOK},
		{"little room", 99, nil, api.DiskLow},
		{"almost none", 9, nil, api.DiskFull},
		{"none", 0, nil, api.DiskFull},
		{"a system that cannot tell", 0, errors.ErrUnsupported, api.DiskNone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newTestDisk(t)
			d.measure = func(string) (uint64, error) { return tt.free, tt.err }
			d.look()
			if state, free := d.state(); state != tt.want || tt.err == nil && free != tt.free {
				t.Errorf("got %q with %d free, want %q with %d", state, free, tt.want, tt.free)
			}
		})
	}
}

func TestDiskIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestDisk(t)
		var looks uint64
		d.measure = func(string) (uint64, error) {
			looks++
			return 250 - 60*min(looks, 3), nil
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			d.run(t.Context())
		}()
		var got []api.DiskState
		for range 3 {
			synctest.Wait()
			state, _ := d.state()
			got = append(got, state)
			<-time.After(diskEvery)
		}
		if diff := cmp.Diff([]api.DiskState{api.DiskOK, api.DiskOK, api.DiskLow}, got); diff != "" {
			t.Errorf("got (+), want (-):\n%s", diff)
		}
		t.Cleanup(func() { <-ended })
	})
}

// TestAFullDiskAnywhereRefusesSends: the shards of a node without room stand still,
// so no node takes messages while there is one, and all do when it has room again.
func TestAFullDiskAnywhereRefusesSends(t *testing.T) {
	d := newTestDisk(t)
	full := api.Node{Name: "n2", State: api.NodeUp, Disk: api.DiskFull}
	for _, tt := range []struct {
		name  string
		nodes []api.Node
		want  string // reason
	}{
		{"all have room", []api.Node{{Name: "n1", Disk: api.DiskLow}}, ""},
		{"one has none", []api.Node{{Name: "n1", Disk: api.DiskOK}, full}, "the disk of node n2 is nearly full (disk-full): consume messages or make room, then send again"},
		{"that one is away", []api.Node{{Name: "n2", State: api.NodeDown, Disk: api.DiskFull}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d.setFull(tt.nodes)
			err := d.admit()
			if tt.want == "" {
				if err != nil {
					t.Errorf("got %v, want the send admitted", err)
				}
				return
			}
			if got := reason(err); routing.CodeOf(err) != routing.CodeFull || got != tt.want {
				t.Errorf("got %v, want code full and %s", err, tt.want)
			}
		})
	}
}

// Sends were refused because of another node's disk, and the log of the node that
// refused them did not say so; the metric counted refusals, none where nobody sent.
func TestTheLogTellsOfAnotherNodesFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log linetest.Lines
		m, registry := newMetrics("n1", "test")
		d := newDisk(&config.Config{Node: "n1", DiskFull: 10}, m, zerolog.New(&log))
		room := []api.Node{{Name: "n1", Disk: api.DiskOK}, {Name: "n2", Disk: api.DiskOK}}
		full := func(name string) []api.Node { return []api.Node{{Name: name, State: api.NodeUp, Disk: api.DiskFull}} }
		const refused, taken = "messages are refused: the disk of another node is nearly full", "messages are taken again"
		for _, tt := range []struct {
			name     string
			nodes    []api.Node
			after    time.Duration
			want     string // in the one new line; empty: there is none
			refusing float64
		}{
			{"room is no news", room, 0, "", 0},
			{"its own is told as it is measured", full("n1"), 0, "", 1},
			{"room", room, 0, "", 0},
			{"another node's", full("n2"), 0, `"peer":"n2","message":"` + refused, 1},
			{"still", full("n2"), diskBetter, "", 1},
			{"then that of a third", full("n3"), 0, "", 1},
			{"then its own", full("n1"), 0, "", 1},
			{"room after a while", room, 0, taken, 0},
			{"to and fro", full("n2"), 0, "", 1},
			{"still none", full("n2"), diskBetter, refused, 1},
			{"room", room, 0, "", 0},
			{"still room", room, diskBetter, taken, 0},
		} {
			<-time.After(tt.after)
			log.Reset()
			d.setFull(tt.nodes)
			if got := log.String(); tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
			}
			if got := metrictest.Value(t, registry, "selvedge_gateway_refusing_sends"); got != tt.refusing {
				t.Errorf("%s: got the metric %v, want %v", tt.name, got, tt.refusing)
			}
		}
	})
}

// The node whose own disk is full does not wait for its status to be told around.
func TestTheOwnFullDiskRefusesAtOnce(t *testing.T) {
	d := newTestDisk(t)
	for _, free := range []uint64{10, 9} {
		d.measure = func(string) (uint64, error) { return free, nil }
		d.look()
		if err := d.admit(); (err != nil) != (free < 10) {
			t.Errorf("with %d bytes free: got %v", free, err)
		}
	}
}

// The log did not say that a disk runs full, nor that the node takes no messages.
func TestTheLogTellsOfLittleRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log linetest.Lines
		d := newTestDisk(t)
		d.log = zerolog.New(&log)
		const low, full, room = `"level":"warn"`, `"level":"error"`, "room again"
		for _, tt := range []struct {
			name  string
			free  uint64
			after time.Duration
			want  string // in the one new line; empty: there is none
		}{
			{"room is no news", 100, 0, ""},
			{"little room", 99, 0, low},
			{"less is the same", 98, 0, ""},
			{"almost none, at once", 9, 0, full},
			{"to and fro", 10, diskBetter / 2, ""},
			{"still almost none", 8, 0, ""},
			{"little room after a while", 10, diskBetter, low},
			{"room after a while", 100, diskBetter, room},
		} {
			<-time.After(tt.after)
			log.Reset()
			d.measure = func(string) (uint64, error) { return tt.free, nil }
			d.look()
			if got := log.String(); tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
			}
		}
	})
}

// Nothing but the watch keeps the logs from filling the disk, so it is watched
// closely when there is little room.
func TestLittleRoomIsWatchedClosely(t *testing.T) {
	d := newTestDisk(t)
	for _, tt := range []struct {
		free uint64
		err  error
		want time.Duration
	}{{100, nil, diskEvery}, {99, nil, diskSoon}, {0, nil, diskSoon}, {0, errors.ErrUnsupported, diskEvery}} {
		d.measure = func(string) (uint64, error) { return tt.free, tt.err }
		d.look()
		if got := d.pause(); got != tt.want {
			t.Errorf("with %d bytes free, error %v: got a look after %v, want after %v", tt.free, tt.err, got, tt.want)
		}
	}
}

// Where the watch is off, or cannot see anything, the logs keep a limit of their own.
func TestWatchGuards(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(d *disk)
		want bool
	}{
		{"on", func(*disk) {}, true},
		{"switched off", func(d *disk) { d.full = 0 }, false},
		{"a node that stores nothing", func(d *disk) { d.dir = "" }, false},
		{"a system that cannot tell", func(d *disk) {
			d.measure = func(string) (uint64, error) { return 0, errors.ErrUnsupported }
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newTestDisk(t)
			d.measure = func(string) (uint64, error) { return 1000, nil }
			tt.set(d)
			if got := d.guards(); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestFreeBytes(t *testing.T) {
	if free, err := freeBytes(t.TempDir()); err != nil && !errors.Is(err, errors.ErrUnsupported) || err == nil && free == 0 {
		t.Errorf("got %d, %v, want what is free where the test runs", free, err)
	}
	if _, err := freeBytes(t.TempDir() + "/none"); err == nil {
		t.Error("got the space of a folder that is not there, want an error")
	}
}
