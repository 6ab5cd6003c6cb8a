package routing

// The sizes of what a large message travels in.
const (
	// MaxHead is the greatest head of a large message, in bytes.
	MaxHead = 256 << 10
	// MaxPart is the greatest part of an upload, and the greatest piece of a
	// read, in bytes. Parts of this size are the best ones.
	MaxPart = 256 << 10
	// LeastPart is the least part of an upload, in bytes, but for the last one.
	LeastPart = 16 << 10
)

// Upload is a large message on its way into a queue, piece by piece: no node holds
// all of it, and it may be as large as the disk allows and the limit message-size.
// Its payload is the head, which came with [Session.Upload], and behind it the
// parts in the order of the calls of Write.
//
// An upload belongs to its session and is used by the same goroutine; its methods
// do not block. It is in no queue before its commit. It ends with Commit, Abort, or
// the session's Close, which aborts; who began it ends it in one of these ways, also
// after it failed. What the shard has of an upload that is aborted is given back, and
// so is one that gets no part for as long as the limit upload-idle: it has failed then.
type Upload interface {
	// Write adds a part: 1 to MaxPart bytes, and no less than LeastPart unless it
	// is the last one. It is copied before Write returns. The result goes to c
	// with the token; c may be nil. A nil error in the result means that the part
	// is safe, as [Session.Send] would have it.
	//
	// Write returns false when as many parts are under way as may be, or the node
	// holds as much unconfirmed data as it may: the front-end then stops reading,
	// or granting, until the upload's own parts under way are complete. Who goes on
	// is served all the same until the node refuses it with CodeFull.
	//
	// When a part fails, the upload has failed: each part behind it and the commit
	// end with an error too. The codes are those of [Session.Send]; CodeTooLarge says
	// that the message is larger than the limit, or than the envelope's Size,
	// CodeClosed that the upload was given up, since it idled or its node was
	// taken for dead, CodeInvalid that the part has a size that it may not have.
	Write(part []byte, c Completer, token uint64) bool

	// Commit puts the message into its queue. It takes its place now, behind what
	// the session has sent before this call and before what it sends after it, however
	// long ago the upload began. The result goes to c with the token, and means
	// what that of [Session.Send] means; it comes behind those of the parts, unless the
	// upload has failed.
	// CodeInvalid says that the parts are not as many bytes as the envelope's
	// Size promised. Commit returns false as Send does.
	Commit(c Completer, token uint64) bool

	// Abort ends the upload without a message. Parts that are not complete end with
	// some result. After Commit it does nothing.
	Abort()
}

// PieceSink takes the answers to [Subscription.Read]. The engine calls it from its
// own goroutines. Piece must not block and must not call back into the subscription.
type PieceSink interface {
	Piece(p Piece)
}

// Piece is the answer to one [Subscription.Read].
type Piece struct {
	Token  uint64 // the one that came with the request
	Offset int64  // of the first byte in the payload, as asked for
	Bytes  []byte // of the payload; at least one. They stay valid and must not be changed
	Err    error  // nil, or an *Error: then there are no bytes
}
