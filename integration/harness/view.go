package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// viewTimeout bounds one question to the admin API.
const viewTimeout = 5 * time.Second

// Queue is what the admin API tells of a queue.
type Queue struct {
	Name      string
	Depth     int
	InFlight  int `json:"in_flight"`
	Consumers int
	Shard     int
	Leader    string
}

// Nodes is what the admin API tells of the cluster.
type Nodes struct {
	Quorum bool
	State  string
	Nodes  []struct {
		Name      string
		State     string
		ShardsLed []int `json:"shards_led"`
	}
}

// ErrNoQueue says that the cluster does not know the queue.
var ErrNoQueue = errors.New("no such queue")

// Look asks a node's HTTP listener for the queue.
func Look(addr, name string) (Queue, error) {
	all, err := LookQueues(addr)
	if err != nil {
		return Queue{}, err
	}
	for _, q := range all {
		if q.Name == name {
			return q, nil
		}
	}
	return Queue{}, ErrNoQueue
}

// LookQueues asks a node's HTTP listener for all queues.
func LookQueues(addr string) ([]Queue, error) {
	var answer struct{ Queues []Queue }
	err := get(addr, "/api/v1/queues", &answer)
	return answer.Queues, err
}

// LookNodes asks a node's HTTP listener for the state of the cluster.
func LookNodes(addr string) (Nodes, error) {
	var answer Nodes
	err := get(addr, "/api/v1/nodes", &answer)
	return answer, err
}

func get(addr, path string, answer any) error {
	return ask(addr, path, func(r io.Reader) error { return json.NewDecoder(r).Decode(answer) })
}

// ask reads the answer of a node's HTTP listener.
func ask(addr, path string, read func(r io.Reader) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), viewTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	return read(resp.Body)
}
