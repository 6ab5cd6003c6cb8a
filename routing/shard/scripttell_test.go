package shard

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/selvedge-mq/selvedge/internal/cursor"
	"github.com/selvedge-mq/selvedge/routing/envelope"
)

var laneNames = [3]string{1: "settle", 2: "send"}

func (s *stage) tail() uint64 { return s.l.first + uint64(len(s.l.log)) - 1 }

func keyText(key uint64) string {
	return fmt.Sprintf("%d.%d", key>>keyShift, key&(1<<keyShift-1))
}

// payload returns what the script's sender wrote.
func (s *stage) payload(env []byte) string {
	s.t.Helper()
	e, err := envelope.Decode(env)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(e.Payload)
}

// nodeOf names the node of a session; a former process has its number behind it.
func (s *stage) nodeOf(session uint64) string {
	for name, n := range s.nodes {
		if n.session == session {
			return name
		}
	}
	return "session " + strconv.FormatUint(session, 10)
}

func (s *stage) subText(id SubID) string { return fmt.Sprintf("%s/%d", s.nodeOf(id.Session), id.Sub) }

// tellRecord writes a record's entries, one a line, behind its sequence.
func (s *stage) tellRecord(seq uint64, rec []byte) {
	s.t.Helper()
	_, entries, _, err := parseRecord(rec)
	if err != nil {
		s.t.Fatal(err)
	}
	var e entry
	r := entryReader{cursor.New(entries)}
	for r.More() {
		if err := r.next(&e); err != nil {
			s.t.Fatal(err)
		}
		s.say("%d: %s", seq, s.entryText(&e))
	}
}

var causeNames = map[cause]string{
	causeAccepted: "accepted", causeDeadLetter: "dead letter", causeExpired: "expired",
	causeDropped: "dropped", causeUnreadable: "unreadable", causeRejected: "rejected", causeExhausted: "exhausted",
}

func (s *stage) entryText(e *entry) string {
	switch e.kind {
	case kindEpoch:
		return fmt.Sprintf("epoch of %s", e.name)
	case kindQueue:
		return fmt.Sprintf("queue %d is %s, reserved to %s", e.queue, e.name, keyText(e.key))
	case kindEnqueue:
		text := fmt.Sprintf("enqueue %s %s in queue %d", keyText(e.key), s.payload(e.body), e.queue)
		if e.flags&flagReserve != 0 {
			text += ", reserved"
		}
		return text + s.largeText(e)
	case kindRewrite:
		text := fmt.Sprintf("rewrite %s %s in queue %d, failed %d", keyText(e.key), s.payload(e.body), e.queue, e.failed)
		if e.flags&flagRedelivered != 0 {
			text += ", redelivered"
		}
		if e.flags&flagMoved != 0 {
			text += ", moved"
		}
		if e.flags&flagDying != 0 {
			text += fmt.Sprintf(", dying with number %d", e.next)
		}
		if e.flags&flagAttempt != 0 {
			text += ", a consumer of " + s.nodeOf(e.session) + " is at it"
		}
		return text + s.largeText(e)
	case kindSettle:
		return fmt.Sprintf("settle %s %s", keyText(e.key), causeNames[e.cause])
	case kindCount:
		return fmt.Sprintf("count %s failed %d", keyText(e.key), e.failed)
	case kindReserve:
		return fmt.Sprintf("reserve queue %d to %s", e.queue, keyText(e.key))
	case kindLane:
		return fmt.Sprintf("lane %s of %s at %d%s", laneNames[e.lane], s.nodeOf(e.session), e.next, answersText(e.answers))
	case kindDrop:
		return fmt.Sprintf("drop the lanes of %s", s.nodeOf(e.session))
	case kindCut:
		return fmt.Sprintf("cut to %d", e.next)
	case kindTemporary:
		return fmt.Sprintf("queue %d is %s, temporary, of %s, reserved to %s", e.queue, e.name, s.nodeOf(e.session), keyText(e.key))
	case kindGone:
		return fmt.Sprintf("queue %d is gone", e.queue)
	case kindMove:
		return fmt.Sprintf("move %s to queue %d, %s", keyText(e.key), e.queue, causeNames[e.cause])
	case kindAttempt:
		return fmt.Sprintf("a consumer of %s is at %s", s.nodeOf(e.session), keyText(e.key))
	case kindDying:
		return fmt.Sprintf("%s dies with number %d, %s", keyText(e.key), e.next, causeNames[e.cause])
	case kindPart, kindAbort:
		return s.largeEntryText(e)
	default:
		return s.txEntryText(e)
	}
}

func answersText(answers []Answer) string {
	var text strings.Builder
	for _, a := range answers {
		fmt.Fprintf(&text, ", %d %s", a.Number, a.Code)
	}
	return text.String()
}

// tellEffects writes what the shard asks its leader to do, and does the purge.
func (s *stage) tellEffects() {
	s.t.Helper()
	fx := s.l.s.Effects()
	for _, c := range fx.Confirms {
		s.say("confirm to %s: %s below %d%s", s.nodeOf(c.Lane.Session), laneNames[c.Lane.Lane], c.Next, answersText(c.Answers))
	}
	for i := range fx.Deliveries {
		d := &fx.Deliveries[i]
		text := fmt.Sprintf("deliver to %s: %s %s", s.subText(d.Sub), keyText(d.Key), s.payload(s.bytesOf(d.Body)))
		if d.Body.Parts > 0 {
			text += fmt.Sprintf(" and %d bytes", d.Body.Parts)
		}
		if d.Redelivered {
			text += ", redelivered"
		}
		if d.Failed > 0 {
			text += fmt.Sprintf(", failed %d", d.Failed)
		}
		s.say("%s", text)
	}
	for _, d := range fx.Drained {
		s.say("drained %s: %d credits are gone", s.subText(d.Sub), d.Credit)
	}
	for i := range fx.DeadLetters {
		d := &fx.DeadLetters[i]
		if d.Body.Size == 0 {
			s.say("dead letter %d without a body, of %s", d.Number, keyText(d.Key))
			continue
		}
		s.say("dead letter %d from %s: %s %s, failed %d", d.Number, d.Address.Name, keyText(d.Key), s.payload(s.bytesOf(d.Body)), d.Failed)
	}
	if fx.Purge > 0 {
		s.say("purge to %d", fx.Purge)
		s.l.log = s.l.log[fx.Purge-s.l.first+1:]
		s.l.first = fx.Purge + 1
	}
	fx.Reset()
}

// bytesOf finds an envelope where the shard says that it lies.
func (s *stage) bytesOf(b Body) []byte {
	if b.Bytes != nil {
		return b.Bytes
	}
	return s.l.log[b.Seq-s.l.first][b.Off : b.Off+b.Size]
}
