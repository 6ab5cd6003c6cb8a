package main

import (
	"strings"
	"testing"

	"github.com/selvedge-mq/selvedge/gateway/api"
)

func TestStatusTellsWhichReplicasAreDamaged(t *testing.T) {
	var out strings.Builder
	err := writeDamaged(&out, []api.Node{
		{Name: "a", State: api.NodeUp},
		{Name: "b", State: api.NodeRepairing, Damaged: []api.Damaged{{Shard: 2, State: "damaged", Reason: "its repair waits"}}},
	})
	if want := "node b: shard 2 damaged: its repair waits\n"; err != nil || out.String() != want {
		t.Errorf("got %q, error %v, want %q", out.String(), err, want)
	}
}

func TestStatusTellsWhichLogsHaveNoRoom(t *testing.T) {
	var out strings.Builder
	err := writeNoRoom(&out, []api.Node{{Name: "a"}, {Name: "b", NoRoom: []int{2}}})
	if want := "node b: the log of shard 2 has no room: free space on its disk\n"; err != nil || out.String() != want {
		t.Errorf("got %q, %v; want %q", out.String(), err, want)
	}
}
