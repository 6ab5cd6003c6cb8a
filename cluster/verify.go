package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/cluster/blocks"
)

// verifyTellEvery is the time between two log lines about a scan that goes on.
const verifyTellEvery = 5 * time.Second

// Audit judges the records of one log as they are read from its files, in their
// order, before the node serves. What is no record's damage, such as one that
// a newer version wrote, is no error.
type Audit interface {
	// Record judges one record.
	Record(seq uint64, rec []byte) error
	// Begin judges, after all records, that the log begins where it may.
	Begin(first uint64) error
}

// verification is what was found in the files of a node's replicas.
type verification struct {
	// node says why the node's replicas cannot be told whole one by one: what they
	// share is damaged. Nil: it is not.
	node error
	// shards says what is damaged of which shard.
	shards map[int]error
	// torn are stores that end in a write that did not end.
	torn []string
}

// whole says that nothing is damaged.
func (v *verification) whole() bool { return v.node == nil && len(v.shards) == 0 }

// verifier checks the files of a data folder, while no embedded server runs.
type verifier struct {
	opts   Options
	shards int
	state  folderState
	log    zerolog.Logger

	total, read int64 // bytes
	began, told time.Time
	groups      map[string]error // by name, those that were looked at; nil: whole
	torn        []string         // see verification
}

// verify checks every file of a node's replicas, unless the node was stopped in
// order, with all of them full, and nothing has changed since. The error says that it
// cannot be told.
func verify(ctx context.Context, o Options, shards int, state folderState) (*verification, error) {
	v := &verifier{opts: o, shards: shards, state: state, log: o.Log, began: time.Now(), told: time.Now(), groups: make(map[string]error)}
	files, err := storedFiles(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("cluster: look at the files of the logs: %w", err)
	}
	if state.Clean && !state.filling() && maps.Equal(files, state.Files) {
		return &verification{}, nil
	}
	if len(files) == 0 && !v.knowsRecords() {
		return &verification{}, nil // a new folder
	}
	return v.run(ctx)
}

// knowsRecords says whether some log held records.
func (v *verifier) knowsRecords() bool {
	for _, s := range v.state.Shards {
		if s.Last > 0 {
			return true
		}
	}
	return false
}

func (v *verifier) run(ctx context.Context) (*verification, error) {
	for shard := range v.shards {
		v.total += blocks.Size(streamDir(v.opts.Dir, shard)) + blocks.Size(groupDir(v.opts.Dir, v.state.shard(shard).Group))
	}
	v.log.Info().Int64("bytes", v.total).Msg("logs are verified: the node was not stopped in order")
	found := &verification{shards: make(map[int]error)}
	for shard := range v.shards {
		err := v.shard(ctx, shard)
		if err == nil {
			continue
		}
		if !isDamage(err) {
			return nil, err
		}
		found.shards[shard] = err
	}
	if v.opts.clustered() {
		err := v.others(ctx)
		if err != nil && !isDamage(err) {
			return nil, err
		}
		found.node = err
	}
	found.torn = v.torn
	v.log.Info().Int64("bytes", v.read).Dur("took", time.Since(v.began)).Bool("whole", found.whole()).Msg("logs verified")
	return found, nil
}

// isDamage says whether an error tells of damage, and not of files that cannot
// be looked at.
func isDamage(err error) bool {
	_, ok := errors.AsType[*blocks.DamageError](err)
	return ok || errors.Is(err, errIncomplete)
}

// errIncomplete is the kind of errors that say: something of a replica is missing.
var errIncomplete = errors.New("the replica is incomplete")

// progress counts what was read, and tells now and then.
func (v *verifier) progress(bytes int64) {
	v.read += bytes
	if time.Since(v.told) < verifyTellEvery {
		return
	}
	v.told = time.Now()
	v.log.Info().Int64("bytes", v.read).Int64("of", v.total).Msg("logs are being verified")
}

// streamDir is where the embedded server stores the stream of a shard.
func streamDir(dir string, shard int) string {
	return filepath.Join(dir, storeName, "jetstream", account, "streams", streamName(shard))
}

// groupsDir is where it stores the raft groups.
func groupsDir(dir string) string {
	return filepath.Join(dir, storeName, "jetstream", systemAccount, "_js_")
}

// groupDir is where it stores one of them.
func groupDir(dir, group string) string {
	if group == "" {
		return filepath.Join(dir, "no group") // does not exist
	}
	return filepath.Join(groupsDir(dir), filepath.Base(group))
}

// shard checks the replica of one shard: its stream, its raft group, and that the
// two go together.
//
// Each record of a group is synced before it counts, those of a stream are synced
// before the group's snapshot: unless the policy is to sync now and then, when
// either may be behind the other.
func (v *verifier) shard(ctx context.Context, shard int) error {
	known, dir := v.state.shard(shard), streamDir(v.opts.Dir, shard)
	stream, err := v.stream(ctx, shard)
	if err != nil {
		return err
	}
	if known.Group == "" {
		return v.alone(stream, known)
	}
	path := groupDir(v.opts.Dir, known.Group)
	if !exists(path) {
		return fmt.Errorf("%w: %s is missing", errIncomplete, path)
	}
	group, err := v.group(ctx, known.Group)
	if err != nil {
		return err
	}
	reach := max(stream.Last, group.Highest())
	switch snap := group.Snapshot.Stream; {
	case !v.state.Synced:
		return nil
	case group.Known() && stream.Last > group.Highest():
		return fmt.Errorf("%w: %s holds %d records, its raft group knows %d", errIncomplete, dir, stream.Last, group.Highest())
	case snap != nil && snap.Last > stream.Last && !known.catchesUp():
		return fmt.Errorf("%w: %s ends at %d, and had %d", errIncomplete, dir, stream.Last, snap.Last)
	case known.Last > reach:
		return fmt.Errorf("%w: %s ends at %d, and had %d", errIncomplete, dir, reach, known.Last)
	}
	return nil
}

// alone checks that a replica without a group still has what it had: with a sync
// before each confirmation nothing may be missing, otherwise it may.
func (v *verifier) alone(stream blocks.Report, known replicaState) error {
	had := known.Last
	if !v.opts.clustered() || len(known.Replicas) == 1 {
		had = max(had, stream.Index) // a replica of several may be behind its summary
	}
	if v.state.Synced && had > stream.Last {
		return fmt.Errorf("%w: the log ends at %d, and had %d", errIncomplete, stream.Last, had)
	}
	return nil
}

// stream checks the files of a shard's stream.
func (v *verifier) stream(ctx context.Context, shard int) (blocks.Report, error) {
	known, dir := v.state.shard(shard), streamDir(v.opts.Dir, shard)
	o := blocks.Options{
		Name: streamName(shard), Subject: streamSubject(shard), Progress: v.progress,
		Unsynced: !v.state.Synced || known.Group != "",
	}
	var audit Audit
	if v.opts.Audit != nil {
		audit = v.opts.Audit()
		o.Record = audit.Record
	}
	r, err := blocks.Scan(ctx, dir, o)
	if err != nil {
		return r, fmt.Errorf("verify the log of shard %d: %w", shard, err)
	}
	if r.Last == 0 && r.Torn == nil {
		return r, nil // nothing was ever stored: its configuration may be half written
	}
	if err := blocks.Configuration(dir, streamName(shard)); err != nil {
		return r, err
	}
	if audit != nil && r.First <= r.Last && !known.catchesUp() {
		if err := audit.Begin(r.First); err != nil {
			return r, fmt.Errorf("%w: %s: %w", errIncomplete, dir, err)
		}
	}
	v.noteTorn(dir, r.Torn)
	return r, nil
}

// noteTorn tells of a write that did not end.
func (v *verifier) noteTorn(dir string, torn *blocks.DamageError) {
	if torn == nil {
		return
	}
	v.torn = append(v.torn, dir)
	v.log.Warn().Str("file", torn.File).Int64("offset", torn.Offset).Str("reason", torn.Reason).
		Msg("a write had not ended: its rest is dropped")
}

// cutTorn has the server read the blocks that end in a write that did not end: it
// cuts that off, and does not read them while it has a summary of them. It is
// called when nothing is damaged any more: a summary is evidence until then.
func (v *verification) cutTorn() error {
	for _, dir := range v.torn {
		if err := blocks.RemoveIndex(dir); err != nil {
			return fmt.Errorf("cluster: have the blocks read again: %w", err)
		}
	}
	return nil
}

// group checks the folder of a raft group.
func (v *verifier) group(ctx context.Context, name string) (blocks.Group, error) {
	dir := groupDir(v.opts.Dir, name)
	g, err := blocks.ScanGroup(ctx, dir, name, v.progress)
	if err == nil && g.Used() { // else its configuration may be half written
		err = blocks.Configuration(dir, name)
	}
	if err != nil {
		err = fmt.Errorf("verify the raft group %s: %w", name, err)
	} else {
		v.noteTorn(dir, g.Entries.Torn)
	}
	v.groups[name] = err
	return g, err
}

// others checks the raft groups that no shard is known to have: the cluster's own,
// and any that was made just before the node ended. Groups that have no use any
// more are deleted by the server, so a damaged one counts for the whole node.
func (v *verifier) others(ctx context.Context) error {
	names, err := os.ReadDir(groupsDir(v.opts.Dir))
	if os.IsNotExist(err) {
		if v.knowsRecords() {
			return fmt.Errorf("%w: %s is missing", errIncomplete, groupsDir(v.opts.Dir))
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("cluster: look at the raft groups: %w", err)
	}
	for _, e := range names {
		if _, seen := v.groups[e.Name()]; seen || !e.IsDir() {
			continue
		}
		if _, err := v.group(ctx, e.Name()); err != nil {
			return err
		}
	}
	return nil
}
