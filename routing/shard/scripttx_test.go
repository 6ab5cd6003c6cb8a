package shard

import (
	"fmt"
	"strings"

	"github.com/selvedge-mq/selvedge/routing"
)

// stageTxOrders are the lines of a script about transactions.
var stageTxOrders = map[string]func(s *stage, words []string){
	"transact": func(s *stage, w []string) {
		s.take(w, 2, func(id LaneID, number uint64) bool { return s.l.s.Transact(id, number, s.part(w[2:])) })
	},
	"prepare": func(s *stage, w []string) {
		s.take(w, 2, func(id LaneID, number uint64) bool {
			return s.l.s.Prepare(id, number, s.tx(w), uint16(s.number(field(w, "coordinator", "0"))), s.part(w[3:]))
		})
	},
	"decide": func(s *stage, w []string) {
		s.take(w, 2, func(id LaneID, number uint64) bool { return s.l.s.Decide(id, number, s.tx(w), []uint16{0, 1}) })
	},
	"finish": func(s *stage, w []string) {
		s.take(w, 2, func(id LaneID, number uint64) bool { return s.l.s.Finish(id, number, s.tx(w), w[3] == "commit") })
	},
	"end": func(s *stage, w []string) {
		s.take(w, 2, func(id LaneID, number uint64) bool { return s.l.s.EndDecision(id, number, s.tx(w)) })
	},
	"resolve":     func(s *stage, w []string) { s.l.s.Resolve(s.tx(w), w[3] == "commit") },
	"give-up":     func(s *stage, w []string) { s.l.s.GiveUp(s.tx(w), w[1]) },
	"held-pinned": func(s *stage, w []string) { s.l.s.HeldPinned(s.sub(w[1]), s.key(w[2])) },
	"verdict": func(s *stage, w []string) {
		commit, known := s.l.s.Verdict(s.tx(w))
		s.say("known: %v, commit: %v", known, commit)
	},
	"waiting": func(s *stage, _ []string) {
		s.l.s.Prepared(func(tx TxID, coordinator uint16, node string) {
			s.say("part of %d of %s waits for shard %d", tx.Number, node, coordinator)
		})
		s.l.s.Commits(func(tx TxID, shards []uint16) { s.say("commit of %d is to be carried out in %v", tx.Number, shards) })
	},
}

// tx reads a node and the number of its transaction.
func (s *stage) tx(w []string) TxID {
	return TxID{Session: s.node(w[1]).session, Number: uint64(s.number(w[2]))}
}

// part reads what a transaction does: accepted=n1/1:1.2 settles, queue=text sends.
func (s *stage) part(words []string) *Part {
	s.t.Helper()
	p := &Part{}
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		if name == "coordinator" {
			continue
		}
		if o, ok := stageOutcomes[name]; ok {
			sub, key, _ := strings.Cut(value, ":")
			p.Settles = append(p.Settles, Settlement{Sub: s.sub(sub), Key: s.key(key), Outcome: o})
			continue
		}
		body, soft := strings.CutSuffix(value, "~")
		p.Sends = append(p.Sends, envTo(addrOf(name), body, !soft))
	}
	return p
}

func (s *stage) txEntryText(e *entry) string {
	commit := "give up"
	if e.flags != 0 {
		commit = "commit"
	}
	tx := fmt.Sprintf("%d of %s", e.tx.Number, s.nodeOf(e.tx.Session))
	switch e.kind {
	case kindPrepare:
		text := fmt.Sprintf("prepare %s for shard %d", tx, e.coordinator)
		for _, it := range e.pins {
			text += fmt.Sprintf(", pin %s %s", keyText(it.key), outcomeNames[it.outcome.Kind])
		}
		for i := range e.sends {
			it := &e.sends[i]
			text += fmt.Sprintf(", %s %s in queue %d", keyText(it.key), s.payload(it.body), it.queue)
		}
		return text
	case kindFinish:
		return fmt.Sprintf("finish %s: %s", tx, commit)
	case kindDecision:
		return fmt.Sprintf("decide %s: %s %v", tx, commit, e.shards)
	case kindEnd:
		return fmt.Sprintf("end of the decision on %s", tx)
	default:
		return fmt.Sprintf("kind %d", e.kind)
	}
}

var outcomeNames = map[routing.OutcomeKind]string{
	routing.Accepted: "accepted", routing.Rejected: "rejected", routing.Released: "released", routing.Modified: "modified",
}
