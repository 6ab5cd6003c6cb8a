package engine

import (
	"context"
	"errors"
)

// Errors of a Log. Everything else that Append reports means: the outcome is
// unknown.
var (
	// ErrConflict says that the log's last sequence was not the expected one;
	// nothing was appended.
	ErrConflict = errors.New("log: the last sequence is not the expected one")
	// ErrFull says that there is no room; nothing was appended.
	ErrFull = errors.New("log: no room")
	// ErrPurged says that the sequence lies before the first one.
	ErrPurged = errors.New("log: the record was purged")
	// ErrNotFound says that the sequence lies after the last one.
	ErrNotFound = errors.New("log: no such record")
)

// Log is the ordered, replicated sequence of one shard's records. Sequences
// start at 1 and have no gaps between First and Last. Methods are safe for
// concurrent use. logtest says, as tests, what every Log must do.
type Log interface {
	// Append starts an append of rec behind the sequence expect. It does not
	// block; done is called exactly once, from any goroutine, and must not
	// block. A nil error means: committed by a majority of the replicas and
	// synced as the sync policy says, at seq = expect+1. Appends under way at
	// once reach the log in the order of the calls. rec must not be changed
	// until done was called. An append that stays silent ends with an error
	// within the log's append timeout.
	Append(expect uint64, rec []byte, done func(seq uint64, err error))
	// Read returns the record at seq, ErrPurged or ErrNotFound. The caller owns
	// the bytes.
	Read(ctx context.Context, seq uint64) ([]byte, error)
	// Scan calls f for each record from seq from (or the first there is) to the
	// last one there is now, in order, each exactly once, without gaps. f owns rec.
	Scan(ctx context.Context, from uint64, f func(seq uint64, rec []byte) error) error
	// Bounds returns the first and last sequence as this node knows them. An
	// empty log has first = last+1.
	Bounds(ctx context.Context) (first, last uint64, err error)
	// Purge removes every record up to and including upTo. It is idempotent.
	Purge(ctx context.Context, upTo uint64) error
}

// Replayer is a Log that reads all of itself faster when nobody keeps what was read.
type Replayer interface {
	// Replay is Scan from the first record on, but rec is valid until f returns only.
	Replay(ctx context.Context, f func(seq uint64, rec []byte) error) error
}

// replay calls f for each record of a log, which does not keep rec.
func replay(ctx context.Context, log Log, f func(seq uint64, rec []byte) error) error {
	if r, ok := log.(Replayer); ok {
		return r.Replay(ctx, f)
	}
	return log.Scan(ctx, 0, f)
}

// Leadership says that this node began or ceased to lead a shard.
type Leadership struct {
	Shard int
	Leads bool
}

// Fabric is what the engine asks of the cluster it runs in.
type Fabric interface {
	// Shards returns the number of shards; it never changes while a node runs.
	Shards() int
	// Log returns a shard's log.
	Log(shard int) Log
	// Leadership returns a channel that tells which shards this node leads:
	// changes only, every shard starts as not led. It is closed by Close of the fabric.
	Leadership() <-chan Leadership
	// Replicas returns the names of the nodes that hold the shard's log; just
	// this node when it runs alone.
	Replicas(shard int) []string
	// Resign asks the fabric to hand a shard's leadership to another node.
	Resign(ctx context.Context, shard int) error
}

// Departures is a Fabric that knows who left for good. Without it a node's lanes
// are dropped only when the node comes back as another process.
type Departures interface {
	// Left reports whether that process of a node has said goodbye: it will never
	// send anything again. Silence is no goodbye, however long it lasts.
	Left(node string, session uint64) bool
}

// Majority is a Fabric that knows whether this node has a majority of the cluster within
// reach. It may know so before its peers are reported down.
type Majority interface {
	// Quorum reports whether it has.
	Quorum() bool
}

// Lane is one of the four streams between two nodes. A lane never waits for a
// later one in this list.
type Lane uint8

// The lanes.
const (
	LaneControl Lane = iota
	LaneSettle
	LaneSend
	LaneDeliver
	Lanes = 4
)

// Peers carries messages between nodes. Between two node sessions each lane is
// ordered and without loss or repetition; when that cannot be kept the peer is
// reported down, and up again later.
type Peers interface {
	// Start begins to call h. It is called once.
	Start(h PeerHandler)
	// Self returns this node's name and the number of its session, which is
	// random and new at each start of the process.
	Self() (node string, session uint64)
	// Send queues msg for a node; it does not block and copies msg. It returns
	// false when the lane's window is full or the node is not up; Writable is
	// called when there is room again. A message that is larger than the whole
	// window is taken when the lane is empty.
	Send(to string, lane Lane, msg []byte) bool
	// Consumed gives n bytes of window back to the sender: the receiver calls it
	// with the length of each message when it has dealt with it.
	Consumed(from string, lane Lane, n int)
	// Reset ends the connection with a node as if it was lost: both ends see PeerDown,
	// then PeerUp when they have met anew. Until then Send takes nothing; what was taken
	// may be lost. It does not block, and may be called by the handler.
	Reset(node string)
	// Ask sends a request to a node and returns its answer.
	Ask(ctx context.Context, to, method string, req []byte) ([]byte, error)
}

// PeerHandler is told what happens on the peers. Calls for one peer and lane
// come one after the other; calls must not block, but for Answer.
type PeerHandler interface {
	// PeerUp says that a node can be reached. A session that differs from the
	// previous one is a new process.
	PeerUp(node string, session uint64)
	// PeerDown says that a node is suspected to be dead, or left.
	PeerDown(node string, session uint64)
	// Receive hands over a message; it owns msg.
	Receive(from string, lane Lane, msg []byte)
	// Writable says that a lane whose Send returned false has room again.
	Writable(to string, lane Lane)
	// Answer answers an Ask; it runs in a goroutine of its own.
	Answer(ctx context.Context, from, method string, req []byte) ([]byte, error)
}
