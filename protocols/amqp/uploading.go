package amqp

import (
	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/message"
	"github.com/selvedge-mq/selvedge/routing"
)

// uploadFrom is the size of a delivery, in bytes, from which it is handed to the
// engine while it comes, instead of as a whole behind its last frame.
const uploadFrom = 512 << 10

// uploading is a large delivery from the client on its way to the engine. Of what
// came, at most a part and a frame are held.
type uploading struct {
	l    *receiving
	up   routing.Upload // nil when it was refused before it began
	rest message.Rest   // what comes behind the sections in front of the body
	end  int64          // of the first body section, in the message; -1 if unknown
	err  *frames.Error  // why it has failed: what still comes is dropped
	lost error          // the same, when the engine says it
	over bool           // nothing of it comes any more
}

// streams reports whether deliveries of the link may be uploaded: those to queues,
// outside of transactions, may. Where the address is only in the message, it decides.
func (l *receiving) streams() bool {
	p := &l.partial
	return !l.control && p.txn == nil && !p.whole && l.limit() > l.s.c.f.o.Env.Limits.MessageSize || p.upload != nil
}

// limit returns how large a message of the link may be: a large one has a body of the
// limit, and a head. [transport 2.7.3]
func (l *receiving) limit() int {
	limits := &l.s.c.f.o.Env.Limits
	if limits.LargeSize <= limits.MessageSize || l.control || l.naming == bySubject || l.naming == byTarget && isTopic(l.to.Kind) {
		return limits.Whole()
	}
	return limits.LargeSize + routing.MaxHead
}

func isTopic(k routing.Kind) bool { return k == routing.KindTopic || k == routing.KindTempTopic }

// stream hands what came of a delivery to the engine if it is a large one; last
// says that no frame comes any more.
func (l *receiving) stream(last bool) *breach {
	p, limits := &l.partial, &l.s.c.f.o.Env.Limits
	switch {
	case p.upload != nil && p.txn != nil:
		return linkError(frames.InvalidField, "the state of a delivery becomes transactional in its middle")
	case p.upload == nil && last && p.size() <= limits.MessageSize, p.upload == nil && !l.streams():
		return nil
	case p.upload == nil && p.size() > min(uploadFrom, limits.MessageSize):
		if b := l.beginUpload(last); b != nil {
			return b
		}
	}
	if p.upload != nil {
		p.upload.write(last)
	}
	return nil
}

// beginUpload begins the upload of the delivery under way, when the sections in front
// of its body are there. A message for a topic goes on as a whole, and so does one
// whose sections cannot be read: if it gets no larger, it is judged as others are.
func (l *receiving) beginUpload(last bool) *breach {
	p, c := &l.partial, l.s.c
	h, ok := message.ScanHead(p.buf[:min(len(p.buf), routing.MaxHead)])
	if !ok && len(p.buf) < routing.MaxHead && !last {
		return nil
	}
	e := &c.scratch().envelope
	*e = routing.Envelope{Address: l.to, Encoding: routing.EncodingAMQP, Timestamp: c.now}
	var bad *frames.Error
	if ok {
		bad = l.describe(e, &h.Message)
	}
	if !ok || bad == nil && isTopic(e.Address.Kind) {
		p.whole = true
		return l.room(0)
	}
	c.parts -= p.memory()
	p.upload = &uploading{l: l, err: bad, end: h.End(), rest: h.Rest()}
	if bad == nil {
		e.Payload = p.buf[:h.Offset]
		p.upload.up = c.routing.Upload(e)
		p.upload.follow(p.buf[h.Offset:])
		p.buf = append(make([]byte, 0, 2*routing.MaxPart), p.buf[h.Offset:]...)
	}
	c.parts += p.memory()
	return nil
}

// follow looks at what came: what is no message is not handed on to those who would have
// to read it.
func (u *uploading) follow(b []byte) {
	if u.err != nil {
		return
	}
	if err := u.rest.Take(b); err != nil {
		u.malformed(err)
	}
}

func (u *uploading) malformed(err error) {
	u.err = frames.Errorf(frames.DecodeFailed, "the message is malformed: %v", err)
	u.abort()
}

// write hands the parts to the engine that are complete; the last part is what is
// left. When the engine has enough the reader waits.
func (u *uploading) write(last bool) {
	p, c := &u.l.partial, u.l.s.c
	rest := p.buf
	for u.err == nil && len(rest) > 0 && (last || len(rest) >= routing.MaxPart) {
		part := rest[:min(len(rest), routing.MaxPart)]
		rest = rest[len(part):]
		c.load.begin(len(part))
		if !u.up.Write(part, u, uint64(len(part))) {
			c.load.held = true
		}
	}
	if u.err != nil {
		rest = nil
	}
	p.buf = p.buf[:copy(p.buf, rest)]
}

// endUpload puts the message into its queue, now that all of it came.
func (l *receiving) endUpload() *breach {
	c, p, u := l.s.c, &l.partial, l.partial.upload
	c.counts.received++
	if u.err == nil && int64(p.size()) < u.end {
		u.err = frames.Errorf(frames.DecodeFailed, "the message has %d bytes, its body ends at %d", p.size(), u.end)
	}
	if u.err == nil {
		if err := u.rest.End(); err != nil {
			u.malformed(err)
		}
	}
	refused := refusal{id: p.id, settled: p.settled, tag: p.tag, err: u.err}
	switch {
	case u.lost != nil:
		l.sendFailed(refused, u.lost)
		return nil
	case u.err != nil:
		return l.refuseSend(refused)
	}
	if !p.settled && !l.tags.take(p.id, p.tag) { // [transport 2.8.7]
		return duplicateTag(p.id)
	}
	u.over = true
	l.sends++
	l.s.sends++
	token := uint64(newSendToken(p.id, p.settled, 0))
	c.load.begin(0)
	if !u.up.Commit(l.completer(), token) {
		c.load.held = true
	}
	return nil
}

// abort ends the upload of a delivery of which the rest does not come, or does not
// count.
func (u *uploading) abort() {
	if !u.over && u.up != nil {
		u.up.Abort()
	}
	u.over = true
}

// judged takes the engine's results of parts. What still comes of a message that has
// failed is dropped, and answered at its end; one that is too large ends the link at
// once. [transport 2.7.3]
func (u *uploading) judged(rs []routing.Result) {
	l := u.l
	var failed error
	for _, r := range rs {
		l.s.c.load.end(int(r.Token)) //nolint:gosec // the size of a part
		if failed == nil {
			failed = r.Err
		}
	}
	if failed == nil || u.err != nil || u.over {
		return // the result of the commit says it
	}
	u.err, u.lost = wireError(failed), failed
	u.abort()
	u.write(false)
	if routing.CodeOf(failed) == routing.CodeTooLarge && l.phase == linkAttached {
		l.fail(u.err)
	}
}

// Complete passes the results of parts to the owner.
func (u *uploading) Complete(rs []routing.Result) {
	c := u.l.s.c
	c.box.Put(event{kind: partsJudged, uploading: u, results: c.f.pools.copyResults(rs)})
}
