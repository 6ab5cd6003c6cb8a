package shard

import (
	"fmt"
	"strings"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/envelope"
)

// stageLargeOrders are the lines of a script about large messages.
var stageLargeOrders = map[string]func(s *stage, words []string){
	"part": func(s *stage, w []string) {
		s.take(w, 2, func(id LaneID, number uint64) bool {
			return s.l.s.Part(id, number, s.upload(w), uint32(s.number(w[3])), []byte(w[4]))
		})
	},
	"large": func(s *stage, w []string) {
		env := envelope.Append(nil, &routing.Envelope{
			Address: addrOf(w[3]), Encoding: routing.EncodingSTOMP, Persistent: true,
			Expiry: s.number(field(w, "expires", "0")), Payload: []byte(w[4]),
		})
		s.take(w, 2, func(id LaneID, number uint64) bool {
			return s.l.s.SendLarge(id, number, s.upload(w), s.number(field(w, "bytes", "0")), env)
		})
	},
	"abort": func(s *stage, w []string) {
		s.take(w, 2, func(id LaneID, number uint64) bool { return s.l.s.Abort(id, number, s.upload(w)) })
	},
	"idle": func(s *stage, w []string) {
		s.say("%d uploads are given up", s.l.s.GiveUpUploads(s.l.now, s.number(w[1])))
	},
	"read": func(s *stage, w []string) {
		if !s.l.s.Reads(s.sub(w[1]), s.key(w[2])) {
			s.say("%s has no such delivery", w[1])
			return
		}
		at, start, ok := s.l.s.PartAt(s.key(w[2]), s.number(w[3]))
		if !ok {
			s.say("there is nothing at %s", w[3])
			return
		}
		s.say("part from %d on: %s, in record %d", start, s.bytesOf(at), at.Seq)
	},
	"uploads": func(s *stage, _ []string) { s.say("%d uploads are open", s.l.s.Uploads()) },
	"bytes": func(s *stage, _ []string) {
		_, live := s.l.s.LogBytes()
		s.say("%d bytes of the log are live", live)
		s.l.s.Queues(func(q QueueInfo) bool {
			s.say("%s: %d bytes", q.Address.Name, q.Bytes)
			return true
		})
	},
}

// upload reads a node and the number of its upload.
func (s *stage) upload(w []string) UploadID {
	return UploadID{Session: s.node(w[1]).session, Number: uint64(s.number(w[2]))}
}

// largeText says what an entry tells of an upload.
func (s *stage) largeText(e *entry) string {
	if e.flags&flagLarge == 0 {
		return ""
	}
	return fmt.Sprintf(", with the %d bytes of upload %d of %s", e.bytes, e.upload.Number, s.nodeOf(e.upload.Session))
}

func (s *stage) largeEntryText(e *entry) string {
	var text strings.Builder
	switch e.kind {
	case kindPart:
		fmt.Fprintf(&text, "part %d of upload %d of %s: %s", e.index, e.upload.Number, s.nodeOf(e.upload.Session), e.body)
		if e.key != 0 {
			text.WriteString(", of message " + keyText(e.key))
		}
	case kindAbort:
		fmt.Fprintf(&text, "upload %d of %s is given up", e.upload.Number, s.nodeOf(e.upload.Session))
	default:
		s.t.Fatalf("entry of kind %d has no text", e.kind)
	}
	return text.String()
}
