package shard

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/selvedge-mq/selvedge/internal/cursor"
	"github.com/selvedge-mq/selvedge/routing"
)

// UploadID names an upload: the session of the node that brings it, and the number
// that the node gave it. What another shard's dead letter brings has that shard's
// number as its session.
type UploadID struct{ Session, Number uint64 }

func (id UploadID) compare(o UploadID) int {
	return cmp.Or(cmp.Compare(id.Session, o.Session), cmp.Compare(id.Number, o.Number))
}

// upload is a large message's parts: an entry each, brought one after the other.
// It is open, and belongs to whoever brings it, until an enqueue names it: from then
// on it belongs to the message and ends with it. A part's entry can be read
// before the message's or behind it, since the cleaner moves each by itself.
type upload struct {
	id    UploadID
	key   uint64 // of its message, 0 while it is open
	body  int64  // of its message: bytes of all parts, whether they were read yet or not
	parts []part // ascending by index

	// Soft.
	composed uint32 // parts composed, from the first one on
	size     int64  // their bytes
	coming   uint64 // key of the message that is composed and not applied yet
	ending   bool   // its end is composed and not applied yet
	idle     int64  // when it was found without a new part, Unix milliseconds; 0: it got one since
}

// part is where a part lies.
type part struct {
	seq       uint64
	off, size uint32
	index     uint32
	moving    bool // a rewrite is composed and not applied yet
}

// mostParts bounds the parts of an upload, also against a damaged record: the largest
// message, 1 GiB and a head, has fewer in the least parts that there may be.
const mostParts = 1 << 17

// mostPartBytes bounds what an entry says of them.
const mostPartBytes = 1 << 40

// uploads finds uploads by their names, and by the messages that they belong to.
type uploads struct {
	byID  map[UploadID]*upload
	byKey map[uint64]*upload
}

func newUploads() uploads {
	return uploads{byID: map[UploadID]*upload{}, byKey: map[uint64]*upload{}}
}

func (t *uploads) ensure(id UploadID) *upload {
	u := t.byID[id]
	if u == nil {
		u = &upload{id: id}
		t.byID[id] = u
	}
	return u
}

// own gives an upload to a message.
func (t *uploads) own(u *upload, key uint64) {
	if u.key == 0 && key != 0 {
		u.key, u.coming = key, 0
		t.byKey[key] = u
	}
}

// restart forgets what a former leader composed.
func (t *uploads) restart() {
	for _, u := range t.byID {
		u.composed, u.size = uint32(len(u.parts)), 0
		for i := range u.parts {
			u.size += int64(u.parts[i].size)
			u.parts[i].moving = false
		}
		u.coming, u.ending, u.idle = 0, false, 0
	}
}

// open reports whether parts can be added, and the upload can become a message.
func (u *upload) open() bool { return u.key == 0 && u.coming == 0 && !u.ending }

// at returns the place of a part in the list, and whether it is there.
func (u *upload) at(index uint32) (int, bool) {
	return slices.BinarySearchFunc(u.parts, index, func(p part, i uint32) int { return int(p.index) - int(i) })
}

// Part composes a part of an upload; the first one begins it. It reports false like
// Send. A part that is there already is left as it is: another shard's leader brings
// its dead letters again. The answer is CodeClosed when the upload was given up.
func (s *Shard) Part(lane LaneID, number uint64, id UploadID, index uint32, data []byte) bool {
	l := s.accept(lane, number)
	if l == nil {
		return false
	}
	u := s.uploads.byID[id]
	switch {
	case u == nil && index > 0, u != nil && u.ending:
		l.answer(number, routing.CodeClosed)
		return true
	case u != nil && index < u.composed:
		u.idle = 0
		return true
	case u != nil && (!u.open() || index != u.composed), index >= mostParts:
		l.answer(number, routing.CodeInvalid)
		return true
	}
	u = s.uploads.ensure(id)
	u.composed++
	u.size += int64(len(data))
	u.idle = 0
	s.composePart(u, index, data)
	return true
}

func (s *Shard) composePart(u *upload, index uint32, data []byte) {
	s.begin()
	s.open.buf = appendPart(s.open.buf, u.id, index, max(u.key, u.coming), data)
	s.open.entries++
	s.open.parts++
}

// SendLarge composes the enqueue of a message whose parts are there: so many bytes.
// It reports false like Send. The answer is CodeClosed when they are not, since the
// upload was given up. An upload that does not become a message ends.
func (s *Shard) SendLarge(lane LaneID, number uint64, id UploadID, bytes int64, env []byte) bool {
	l := s.accept(lane, number)
	if l == nil {
		return false
	}
	u := s.uploads.byID[id]
	if u == nil || !u.open() || u.size != bytes {
		s.abort(u)
		l.answer(number, routing.CodeClosed)
		return true
	}
	q, _, code := s.target(env)
	if code != routing.CodeOK {
		s.abort(u)
		s.deny(l, number, code)
		return true
	}
	u.coming = s.open.nextKey
	s.composeEnqueue(q, env, u)
	return true
}

// Abort composes the end of an upload, as who brings it asks for. It reports false
// like Send.
func (s *Shard) Abort(lane LaneID, number uint64, id UploadID) bool {
	if s.accept(lane, number) == nil {
		return false
	}
	s.abort(s.uploads.byID[id])
	return true
}

func (s *Shard) abort(u *upload) {
	if u == nil || !u.open() {
		return
	}
	s.composeAbort(u)
}

func (s *Shard) composeAbort(u *upload) {
	u.ending = true
	s.begin()
	s.open.buf = appendAbort(s.open.buf, u.id)
	s.open.entries++
}

// GiveUpUploads composes the end of every upload that was without a new part for a
// time, in milliseconds, as far as there is room in the open record; and that of
// parts whose message ended before the log begins.
func (s *Shard) GiveUpUploads(now, after int64) (given int) {
	for _, u := range s.dueUploads(now, after) {
		if s.Full() {
			return given
		}
		if u.key == 0 {
			given++
		}
		s.composeAbort(u)
	}
	return given
}

// dueUploads returns what GiveUpUploads ends, in the order of their names, and takes
// note of the time at which it found the others.
func (s *Shard) dueUploads(now, after int64) (due []*upload) {
	for _, u := range s.uploads.byID {
		switch {
		case u.key != 0:
			if s.store.find(u.key) == 0 && !u.ending {
				due = append(due, u)
			}
		case !u.open():
		case u.idle == 0:
			u.idle = now
		case now-u.idle >= after:
			due = append(due, u)
		}
	}
	slices.SortFunc(due, func(a, b *upload) int { return a.id.compare(b.id) })
	return due
}

// Uploads returns the number of uploads that are in no queue yet.
func (s *Shard) Uploads() int { return len(s.uploads.byID) - len(s.uploads.byKey) }

// Reads reports whether a subscription has a message in flight.
func (s *Shard) Reads(id SubID, key uint64) bool {
	p := s.store.find(key)
	if p == 0 {
		return false
	}
	u := s.holder(s.store.at(p))
	return u != nil && u.id == id
}

// PartAt returns where the part of a message lies that has the byte at an offset
// behind the head, and the offset of its first byte.
func (s *Shard) PartAt(key uint64, offset int64) (at Body, start int64, ok bool) {
	u := s.uploads.byKey[key]
	if u == nil {
		return Body{}, 0, false
	}
	for i := range u.parts {
		p := &u.parts[i]
		if p.index != uint32(i) {
			break
		}
		if offset < start+int64(p.size) {
			return Body{Seq: p.seq, Off: p.off, Size: p.size}, start, true
		}
		start += int64(p.size)
	}
	return Body{}, 0, false
}

// partBytes returns the bytes of a message's parts.
func (s *Shard) partBytes(m *message) int64 {
	if !m.has(markLarge) {
		return 0
	}
	if u := s.uploads.byKey[m.key]; u != nil {
		return u.body
	}
	return 0
}

// weight returns the bytes of a message, its parts included.
func (s *Shard) weight(m *message) int64 { return int64(m.size) + s.partBytes(m) }

func (s *Shard) applyPart(seq uint64, e *entry) {
	u := s.uploads.ensure(e.upload)
	s.uploads.own(u, e.key)
	i, ok := u.at(e.index)
	if ok {
		s.log.release(u.parts[i].seq, messageCost(u.parts[i].size))
	} else {
		u.parts = slices.Insert(u.parts, i, part{})
	}
	u.parts[i] = part{seq: seq, off: uint32(headerSize + e.bodyOff), size: uint32(len(e.body)), index: e.index}
	s.log.hold(seq, messageCost(u.parts[i].size))
}

// applyLarge gives a message its parts.
func (s *Shard) applyLarge(m *message, e *entry) {
	u := s.uploads.ensure(e.upload)
	s.uploads.own(u, e.key)
	if u.key != e.key || m.has(markLarge) {
		return
	}
	u.body = e.bytes
	m.marks |= markLarge
	s.queueOf(m).bytes += u.body
}

func (s *Shard) applyAbort(id UploadID) {
	u := s.uploads.byID[id]
	if u == nil || u.key != 0 && s.store.find(u.key) != 0 {
		return
	}
	s.freeUpload(u)
}

// freeParts ends the parts of a message that is gone.
func (s *Shard) freeParts(key uint64) {
	if len(s.uploads.byKey) == 0 {
		return
	}
	if u := s.uploads.byKey[key]; u != nil {
		s.freeUpload(u)
	}
}

func (s *Shard) freeUpload(u *upload) {
	for i := range u.parts {
		s.log.release(u.parts[i].seq, messageCost(u.parts[i].size))
	}
	delete(s.uploads.byID, u.id)
	if u.key != 0 {
		delete(s.uploads.byKey, u.key)
	}
}

// dropUploads ends what a session has not committed.
func (s *Shard) dropUploads(session uint64) {
	for id, u := range s.uploads.byID {
		if id.Session == session && u.key == 0 {
			s.freeUpload(u)
		}
	}
}

// endUploads marks the uploads that end with a session.
func (s *Shard) endUploads(session uint64) {
	for id, u := range s.uploads.byID {
		if id.Session == session && u.open() {
			u.ending = true
		}
	}
}

// rewritePart composes a part again that is live in the record at seq.
func (s *Shard) rewritePart(seq uint64, e *entry) {
	u := s.uploads.byID[e.upload]
	if u == nil || u.ending {
		return
	}
	if u.key != 0 {
		p := s.store.find(u.key)
		if p == 0 || s.store.at(p).has(markSettling) || s.queueOf(s.store.at(p)).going {
			return
		}
	}
	i, ok := u.at(e.index)
	if !ok || u.parts[i].seq != seq || u.parts[i].moving {
		return
	}
	u.parts[i].moving = true
	s.composePart(u, e.index, e.body)
}

func appendPart(dst []byte, id UploadID, index uint32, key uint64, data []byte) []byte {
	dst = appendUpload(append(dst, byte(kindPart)), id)
	dst = binary.AppendUvarint(dst, uint64(index))
	dst = binary.BigEndian.AppendUint64(dst, key)
	return cursor.AppendBytes(dst, data)
}

func appendAbort(dst []byte, id UploadID) []byte {
	return appendUpload(append(dst, byte(kindAbort)), id)
}

func appendUpload(dst []byte, id UploadID) []byte {
	return binary.AppendUvarint(binary.BigEndian.AppendUint64(dst, id.Session), id.Number)
}

// appendLarge appends what a large message's entry has behind its flags.
func appendLarge(dst []byte, u *upload, bytes int64) []byte {
	return binary.AppendUvarint(appendUpload(dst, u.id), uint64(bytes))
}

func (r *entryReader) part(e *entry) {
	e.upload, e.index, e.key = r.upload(), uint32(r.below(mostParts)), r.U64()
	e.body, e.bodyOff = r.body()
}

func (r *entryReader) upload() UploadID { return UploadID{Session: r.U64(), Number: r.Uvarint()} }

// large reads what a large message's entry has behind its flags.
func (r *entryReader) large(e *entry) {
	if e.flags&flagLarge != 0 {
		e.upload, e.bytes = r.upload(), int64(r.below(mostPartBytes))
	}
}

// below reads a number that is less than a bound.
func (r *entryReader) below(most uint64) uint64 {
	v := r.Uvarint()
	if v >= most {
		r.Bad = true
		return 0
	}
	return v
}
