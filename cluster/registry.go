package cluster

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// EntryState says what the cluster makes of a node.
type EntryState string

// The states of a node in the registry.
const (
	// EntryMember: it belongs to the cluster, whether it is up or not.
	EntryMember EntryState = "member"
	// EntryRetiring: it is being retired, and that has not ended.
	EntryRetiring EntryState = "retiring"
	// EntryRetired: it holds nothing any more, and does not come back as it was.
	EntryRetired EntryState = "retired"
)

// Entry is what the registry says of a node that stores.
type Entry struct {
	Node  string     `json:"node"`
	State EntryState `json:"state"`
	// FirstSeen is when the node entered the registry.
	FirstSeen time.Time `json:"first_seen"`
	// Started and Session are of its last process that entered.
	Started time.Time `json:"started,omitzero"`
	Session uint64    `json:"session,omitempty"`
	// LastSeen is when it was heard for the last time, written once when it fell
	// silent; zero: it never did.
	LastSeen time.Time `json:"last_seen,omitzero"`
	Version  string    `json:"version,omitempty"`
	Address  string    `json:"address,omitempty"` // that other nodes reach it at
	// Folder is when the node's data folder was made: it tells folders apart.
	Folder time.Time `json:"folder,omitzero"`
	// RetiredFolder is the folder that was retired with the node. It counts no more,
	// also when the name may be used again.
	RetiredFolder time.Time `json:"retired_folder,omitzero"`
	// RetiredBy and RetiredAt say who began to retire the node, and when.
	RetiredBy string    `json:"retired_by,omitempty"`
	RetiredAt time.Time `json:"retired_at,omitzero"`

	revision uint64 // of the entry as it was read; 0: there is none
}

// exists says whether the entry is in the registry.
func (e *Entry) exists() bool { return e.revision > 0 }

// LastHeard returns the last time that the registry knows the node to have run.
func (e *Entry) LastHeard() time.Time {
	if e.LastSeen.After(e.Started) {
		return e.LastSeen
	}
	return e.Started
}

// errRevision says that an entry was changed since it was read.
var errRevision = errors.New("the entry has changed")

// registry remembers the nodes of the cluster that store: a bucket of key and value,
// a key for each name, in one replicated stream.
//
// A write takes effect only if the entry is still the one that it was computed from
// (its revision), so writes of one entry are linearizable. A read is not: it is
// answered by the stream's leader, or whoever believes to be it, or, for the copy,
// by any replica. So nothing is decided by a read alone: what a decision was based on
// is confirmed by the write.
//
// It is no source of truth about who votes or who holds what: the raft groups are.
// If it is slow, silent or empty, nodes start and serve all the same.
type registry struct {
	store *store
	wake  chan struct{} // somebody has changed an entry: look

	mu      sync.Mutex
	entries map[string]Entry // the copy
	read    bool             // it was read once
}

func newRegistry(s *store) *registry {
	return &registry{store: s, wake: make(chan struct{}, 1), entries: make(map[string]Entry)}
}

// get returns a node's entry as of the last look.
func (r *registry) get(node string) (Entry, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.entries[node]
	return e, ok
}

// list returns all entries as of the last look, by name.
func (r *registry) list() []Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.SortedFunc(maps.Values(r.entries), func(a, b Entry) int { return cmp.Compare(a.Node, b.Node) })
}

// known says whether the registry was ever read.
func (r *registry) known() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.read
}

// refresh renews the copy.
func (r *registry) refresh(ctx context.Context) error {
	list, err := r.store.entries(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read = true
	for _, e := range list {
		if e.revision >= r.entries[e.Node].revision { // a replica may be behind
			r.entries[e.Node] = e
		}
	}
	return nil
}

// current reads a node's entry from the leader of the bucket, as often as it takes
// until ctx ends: an election may be under way.
func (r *registry) current(ctx context.Context, node string) (Entry, error) {
	wait := backoff{}
	for {
		e, err := r.store.entry(ctx, node)
		if err == nil || !retryable(err) && !notFound(err) {
			return e, err
		}
		if werr := wait.sleep(ctx); werr != nil {
			return Entry{}, fmt.Errorf("%w: %w", err, werr)
		}
	}
}

// change replaces a node's entry by what f makes of it. f may be called again, with
// the entry as it is then; its error ends the change. An entry that f leaves as it
// is is not written, so a write whose answer was lost is not repeated.
func (r *registry) change(ctx context.Context, node string, f func(e *Entry) error) error {
	ctx, cancel := withDefaultTimeout(ctx, callTimeout)
	defer cancel()
	wait := backoff{}
	for {
		err := r.changeOnce(ctx, node, f)
		if err == nil || !errors.Is(err, errRevision) && !retryable(err) && !notFound(err) {
			return err
		}
		if werr := wait.sleep(ctx); werr != nil {
			return fmt.Errorf("cluster: change the registry: %w: %w", err, werr)
		}
	}
}

func (r *registry) changeOnce(ctx context.Context, node string, f func(e *Entry) error) error {
	e, err := r.store.entry(ctx, node)
	if err != nil {
		return err
	}
	before, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("cluster: encode an entry of the registry: %w", err)
	}
	if err := f(&e); err != nil {
		return err
	}
	after, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("cluster: encode an entry of the registry: %w", err)
	}
	if !e.exists() || !bytes.Equal(before, after) {
		if e.revision, err = r.store.putEntry(ctx, node, e.revision, after); err != nil {
			return err
		}
		_ = r.store.nc.Publish(registrySubject, nil) // a lost hint is made good by the next look
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.revision >= r.entries[node].revision {
		r.entries[node] = e
	}
	return nil
}
