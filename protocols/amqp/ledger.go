package amqp

import (
	"maps"
	"slices"
	"sync"

	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/routing"
)

// maxKept bounds the deliveries that are remembered of one link; older ones are
// forgotten first. What is not remembered is sent again.
const maxKept = 2048

// keptSize is about what a remembered delivery takes.
const keptSize = 160

// ledger is our unsettled map of a link from the client: the deliveries that the
// client may believe unsettled, and what became of them. [transport 2.6.13] It
// outlives the link and its connection when the terminus does, and hears from the
// engine of what was under way then: it is safe for concurrent use.
type ledger struct {
	mu      sync.Mutex
	tags    map[tagKey]*kept
	ids     map[uint32]*kept // by the delivery-id in the session of the present link
	order   []*kept          // oldest first, with some that are forgotten
	pending int              // that the engine has not judged
	judged  func()           // called once when there are none, if set
}

// kept is a delivery that is not settled on both sides.
type kept struct {
	key      tagKey
	id       uint32
	gone     bool         // forgotten, and not yet taken out of the order
	reported bool         // the client was told of it in an attach
	state    frames.State // StateNone: the engine has not judged
}

func newLedger() *ledger {
	return &ledger{tags: make(map[tagKey]*kept), ids: make(map[uint32]*kept)}
}

// begin notes a delivery that goes to the engine. Its tag may be that of one that
// the client has settled without a word.
func (m *ledger) begin(id uint32, tag []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := &kept{key: keyOf(tag), id: id}
	if old := m.tags[k.key]; old != nil {
		m.drop(old)
	}
	m.tags[k.key], m.ids[id] = k, k
	m.order = append(m.order, k)
	m.pending++
	for len(m.tags) > maxKept {
		m.drop(m.order[0])
		m.order[0], m.order = nil, m.order[1:]
	}
	if len(m.order) > 2*maxKept {
		live := m.order[:0]
		for _, k := range m.order {
			if !k.gone {
				live = append(live, k)
			}
		}
		clear(m.order[len(live):])
		m.order = live
	}
}

// drop forgets a delivery. The lock is held.
func (m *ledger) drop(k *kept) {
	if k.gone {
		return
	}
	k.gone = true
	delete(m.tags, k.key)
	if m.ids[k.id] == k {
		delete(m.ids, k.id)
	}
}

// judge notes the engine's results; those of deliveries that are settled, or of
// transactions, are not known here.
func (m *ledger) judge(rs []routing.Result) {
	m.mu.Lock()
	for _, r := range rs {
		t := sendToken(r.Token)
		if t.settled() {
			continue
		}
		m.pending--
		k := m.ids[t.id()]
		if k == nil {
			continue
		}
		k.state = frames.State{Kind: frames.StateAccepted}
		if r.Err != nil {
			k.state = frames.State{Kind: frames.StateRejected, Error: wireError(r.Err)}
		}
	}
	judged := m.judged
	if m.pending > 0 {
		judged = nil
	} else {
		m.judged = nil
	}
	m.mu.Unlock()
	if judged != nil {
		judged()
	}
}

// whenJudged has f called when nothing is under way any more. It reports false,
// and calls nothing, when that is so already.
func (m *ledger) whenJudged(f func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pending == 0 {
		return false
	}
	m.judged = f
	return true
}

// settled forgets a delivery by its id: both sides have settled it.
func (m *ledger) settled(id uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k := m.ids[id]; k != nil {
		m.drop(k)
	}
}

// settledRange does so for those of a range of ids.
func (m *ledger) settledRange(first, last uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, k := range m.ids {
		if id-first <= last-first {
			m.drop(k)
		}
	}
}

// adopt makes the ledger that of a link that was attached again. What the client
// does not name any more it has settled, unless it says that it does not name all.
func (m *ledger) adopt(a *frames.Attach) {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.ids) // they were of the former session
	theirs := unsettledTags(a.Unsettled)
	for key, k := range m.tags {
		if _, named := theirs[key]; !named && !a.IncompleteUnsettled {
			m.drop(k)
		}
	}
}

// unsettled returns our unsettled map, as much of it as fits into room bytes, and
// whether that is not all.
func (m *ledger) unsettled(room int) (all wire.Map, incomplete bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range m.order {
		if k.gone {
			continue
		}
		tag, state := k.key.tag(), k.state.Append(nil)
		if room -= len(wire.AppendBinary(nil, tag)) + len(state); room < 0 {
			return all, true
		}
		k.reported = true
		r := wire.NewReader(state, wire.Limits{})
		all = append(all, wire.Entry{Key: tag, Value: r.Value()})
	}
	return all, false
}

// resume gives a delivery that the client resumes its id in the present session,
// and returns what became of it; ok is false when it is not known.
func (m *ledger) resume(id uint32, tag []byte, settled bool) (state frames.State, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.tags[keyOf(tag)]
	if k == nil {
		return state, false
	}
	if settled {
		m.drop(k)
	} else {
		k.id, m.ids[id] = id, k
	}
	return k.state, true
}

// present returns the ids of the deliveries in the present session.
func (m *ledger) present() []uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Keys(m.ids))
}

// leave makes the ledger ready for a time without a link, and returns about how
// many bytes it takes; 0 when there is nothing to remember. What the client was
// told of in an attach is settled, where the receiver settles first: its tag may
// be another delivery's by now.
func (m *ledger) leave(second bool) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	size := 0
	for _, k := range m.tags {
		if k.reported && !second {
			m.drop(k)
			continue
		}
		size += keptSize
		if e := k.state.Error; e != nil {
			size += len(e.Description)
		}
	}
	return size
}

// unsettledTags returns the states of an unsettled map by the delivery-tags.
func unsettledTags(m wire.Map) map[tagKey]any {
	tags := make(map[tagKey]any, len(m))
	for _, e := range m {
		if tag, ok := e.Key.([]byte); ok && len(tag) <= frames.MaxDeliveryTag {
			tags[keyOf(tag)] = e.Value
		}
	}
	return tags
}
