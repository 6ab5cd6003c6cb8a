package engine

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"sync/atomic"

	"github.com/selvedge-mq/selvedge/internal/cursor"
	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/envelope"
	"github.com/selvedge-mq/selvedge/routing/shard"
)

// upload implements routing.Upload. Its parts are requests of the send lane, and so
// is its commit: they are done once and in order, whichever leader takes them.
type upload struct {
	s      *session
	p      *portal
	env    routing.Envelope // with the head
	head   int64            // bytes of it
	number uint64           // names it, with the node's session
	parts  uint32
	bytes  int64 // of them
	short  bool  // a part came that only the last one may be
	ended  bool
	fault  atomic.Pointer[routing.Error] // why it has failed
}

// Upload implements routing.Session.
func (s *session) Upload(env *routing.Envelope) routing.Upload {
	e := s.e
	u := &upload{s: s, env: *env}
	u.env.Payload = bytes.Clone(env.Payload)
	p := s.permission(env.Address)
	err := p.err
	if err == nil {
		err = e.checkUpload(env)
	}
	if err == nil && len(s.uploads) >= e.opts.Uploads {
		e.metrics.limits.uploads.Inc()
		err = u.error(routing.CodeFull, fmt.Sprintf("the session has %d uploads under way, that is the limit", len(s.uploads)))
	}
	if err == nil {
		err = u.hold()
	}
	if err != nil {
		u.env.Payload = nil
		u.fail(err)
		return u
	}
	u.p = e.portals[p.shard]
	u.number = e.uploads.Add(1)
	s.uploads[u] = struct{}{}
	e.uploading.Add(1)
	return u
}

// hold counts the head, which stays in memory for as long as the upload is open. A
// session may hold no more than is free, so that one client never takes all.
func (u *upload) hold() error {
	e, s := u.s.e, u.s
	u.head = int64(len(u.env.Payload))
	if free := e.opts.HeldBytes - e.heads.Add(u.head); s.heads > free {
		e.heads.Add(-u.head)
		e.metrics.limits.heads.Inc()
		return u.error(routing.CodeFull, fmt.Sprintf(
			"the session's messages under way piece by piece hold %d bytes, and may hold no more than is free: those of the node hold at most %d (node-in-flight-bytes)",
			s.heads, e.opts.HeldBytes))
	}
	s.heads += u.head
	return nil
}

// checkUpload refuses what cannot become a large message.
func (e *Engine) checkUpload(env *routing.Envelope) error {
	fail := func(code routing.Code, reason string) error {
		return &routing.Error{Code: code, Op: "send", Address: env.Address.String(), Reason: reason}
	}
	whole := *env
	whole.Size = 0
	switch err := e.check(&whole); {
	case err != nil:
		return err
	case isTopic(env.Address.Kind):
		e.metrics.limits.wholeSize.Inc()
		return fail(routing.CodeTooLarge, fmt.Sprintf("a message to a topic has at most %d bytes (whole-message-size)", e.wholeSize()))
	case len(env.Payload) > routing.MaxHead:
		return fail(routing.CodeInvalid, fmt.Sprintf("the head has %d bytes, at most %d are allowed", len(env.Payload), routing.MaxHead))
	case env.Size > e.largeSize():
		return e.tooLarge(env, env.Size)
	}
	return nil
}

// largeSize is the greatest upload: what the body may have, and as much beside it
// as fits into a head.
func (e *Engine) largeSize() int64 { return int64(e.opts.MessageSize) + routing.MaxHead }

func (e *Engine) tooLarge(env *routing.Envelope, size int64) error {
	e.metrics.limits.messageSize.Inc()
	return &routing.Error{
		Code: routing.CodeTooLarge, Op: "send", Address: env.Address.String(),
		Reason: fmt.Sprintf("the message has %d bytes, at most %d are allowed (message-size)", size, e.opts.MessageSize),
	}
}

func (u *upload) error(code routing.Code, reason string) error {
	return &routing.Error{Code: code, Op: "send", Address: u.env.Address.String(), Reason: reason}
}

// fail notes why the upload has failed, the first time.
func (u *upload) fail(err error) {
	own := &routing.Error{Code: routing.CodeOf(err), Op: "send", Address: u.env.Address.String(), Err: err}
	if e, ok := err.(*routing.Error); ok { //nolint:errorlint // it is the engine's own
		own = e
	}
	u.fault.CompareAndSwap(nil, own)
}

// failed returns why the upload has failed, nil if it has not.
func (u *upload) failed() error {
	if f := u.fault.Load(); f != nil {
		return f
	}
	return nil
}

// size returns the bytes of the payload so far.
func (u *upload) size() int64 { return int64(len(u.env.Payload)) + u.bytes }

// Write implements routing.Upload.
func (u *upload) Write(part []byte, c routing.Completer, token uint64) bool {
	e := u.s.e
	if err := u.check(part); err != nil {
		u.fail(err)
		e.hub.complete(c, token, err)
		return routing.CodeOf(err) != routing.CodeFull
	}
	raw := make([]byte, 0, 1+8+2*binary.MaxVarintLen64+len(part))
	raw = appendPart(raw, shard.UploadID{Session: e.session, Number: u.number}, u.parts, part)
	u.parts++
	u.bytes += int64(len(part))
	u.short = len(part) < routing.LeastPart
	room := u.p.putPart(&txStep{verb: stepPart, upload: u.number, c: &uploadEnd{u: u, c: c, token: token}, raw: raw})
	return room && e.held.Load() < e.opts.HeldBytes
}

// check says why a part is not taken in.
func (u *upload) check(part []byte) error {
	e := u.s.e
	switch size := u.size() + int64(len(part)); {
	case u.ended:
		return u.error(routing.CodeInvalid, "the upload has ended")
	case u.failed() != nil:
		return u.failed()
	case e.over.Load():
		return u.error(routing.CodeClosed, "the node is shutting down")
	case len(part) == 0 || len(part) > routing.MaxPart:
		return u.error(routing.CodeInvalid, fmt.Sprintf("a part has %d bytes, want 1 to %d", len(part), routing.MaxPart))
	case u.short:
		return u.error(routing.CodeInvalid, fmt.Sprintf("a part has less than %d bytes and is not the last one", routing.LeastPart))
	case size > e.largeSize():
		return e.tooLarge(&u.env, size)
	case u.env.Size > 0 && size > u.env.Size:
		return u.error(routing.CodeTooLarge, fmt.Sprintf("the message has more than the %d bytes that were announced", u.env.Size))
	}
	if e.opts.Admit != nil {
		if err := e.opts.Admit(); err != nil {
			return err
		}
	}
	return u.room()
}

// room refuses what would wait for a full disk, or on a full node.
func (u *upload) room() error {
	e := u.s.e
	if !u.p.takes() {
		return errFull(&u.env)
	}
	if e.held.Load() >= e.opts.HeldMost {
		e.metrics.refusedSends.Inc()
		e.metrics.limits.held.Inc()
		return u.error(routing.CodeFull, heldReason)
	}
	return nil
}

// Commit implements routing.Upload.
func (u *upload) Commit(c routing.Completer, token uint64) bool {
	e := u.s.e
	err := u.failed()
	switch {
	case u.ended:
		err = u.error(routing.CodeInvalid, "the upload has ended")
	case err == nil && e.over.Load():
		err = u.error(routing.CodeClosed, "the node is shutting down")
	case err == nil && u.env.Size > 0 && u.size() != u.env.Size:
		err = u.error(routing.CodeInvalid, fmt.Sprintf("the message has %d bytes, %d were announced", u.size(), u.env.Size))
	case err == nil:
		err = u.room()
	}
	if err != nil {
		u.Abort()
		e.hub.complete(c, token, err)
		return routing.CodeOf(err) != routing.CodeFull
	}
	u.end()
	if u.parts == 0 { // the head is all of it
		u.env.Size = 0
		return u.s.Send(&u.env, c, token)
	}
	e.sends.Add(1)
	raw := appendLarge(make([]byte, 0, 64+envelope.Size(&u.env)), shard.UploadID{Session: e.session, Number: u.number}, u.bytes)
	raw = envelope.Append(raw, &u.env)
	u.p.putBehindParts(&txStep{verb: stepLarge, upload: u.number, c: &uploadEnd{u: u, c: c, token: token}, raw: raw})
	return e.held.Load() < e.opts.HeldBytes
}

// Abort implements routing.Upload.
func (u *upload) Abort() {
	if u.ended {
		return
	}
	u.end()
	if u.parts == 0 || u.s.e.over.Load() {
		return
	}
	u.p.dropParts(u.number, routing.CodeClosed, "the upload was aborted")
	raw := appendAbort(nil, shard.UploadID{Session: u.s.e.session, Number: u.number})
	u.p.putBehindParts(&txStep{verb: stepAbort, upload: u.number, raw: raw})
}

func (u *upload) end() {
	u.ended = true
	if _, open := u.s.uploads[u]; open {
		delete(u.s.uploads, u)
		u.s.e.uploading.Add(-1)
		u.s.e.heads.Add(-u.head)
		u.s.heads -= u.head
	}
}

// uploadEnd is the Completer of a part, or of the commit.
type uploadEnd struct {
	u     *upload
	c     routing.Completer
	token uint64
}

// Complete implements routing.Completer.
func (t *uploadEnd) Complete(results []routing.Result) {
	for _, r := range results {
		err := r.Err
		if err != nil {
			err = t.u.explain(err)
			t.u.fail(err)
		}
		if t.c != nil {
			t.c.Complete([]routing.Result{{Token: t.token, Err: err}})
		}
	}
}

// explain says of a step's failure what it means for the message.
func (u *upload) explain(err error) error {
	reason := ""
	if e, ok := err.(*routing.Error); ok { //nolint:errorlint // it is the engine's own
		reason = e.Reason
	}
	if code := routing.CodeOf(err); code == routing.CodeClosed && reason == "" {
		reason = "the upload was given up: it got no part for too long (upload-idle), or its node was taken for dead"
	}
	return u.error(routing.CodeOf(err), reason)
}

// The requests of an upload as they travel.

func appendPart(dst []byte, id shard.UploadID, index uint32, part []byte) []byte {
	dst = appendUploadStep(dst, stepPart, id)
	return append(binary.AppendUvarint(dst, uint64(index)), part...)
}

// appendLarge appends the commit of an upload, but for the envelope.
func appendLarge(dst []byte, id shard.UploadID, bytes int64) []byte {
	return binary.AppendUvarint(appendUploadStep(dst, stepLarge, id), uint64(bytes))
}

func appendAbort(dst []byte, id shard.UploadID) []byte { return appendUploadStep(dst, stepAbort, id) }

func appendUploadStep(dst []byte, verb stepVerb, id shard.UploadID) []byte {
	dst = binary.AppendUvarint(append(dst, byte(verb)), id.Number)
	return binary.BigEndian.AppendUint64(dst, id.Session)
}

// takeUpload composes a step of an upload. It reports false when it cannot be read.
func (l *leader) takeUpload(verb stepVerb, lane shard.LaneID, number, upload uint64, c *cursor.Cursor) bool {
	id := shard.UploadID{Session: c.U64(), Number: upload}
	switch verb {
	case stepPart:
		if index := c.Uvarint(); !c.Bad && index <= math.MaxUint32 {
			l.s.Part(lane, number, id, uint32(index), c.Rest)
			return true
		}
	case stepLarge:
		if bytes := c.Uvarint(); !c.Bad && bytes <= math.MaxInt64 {
			l.s.SendLarge(lane, number, id, int64(bytes), c.Rest)
			return true
		}
	default:
		if !c.Bad {
			l.s.Abort(lane, number, id)
			return true
		}
	}
	return false
}
