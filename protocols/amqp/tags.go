package amqp

import "github.com/selvedge-mq/selvedge/protocols/amqp/frames"

// tagKey is a delivery-tag as a key of a map: its length and its bytes.
type tagKey [frames.MaxDeliveryTag + 1]byte

func keyOf(tag []byte) (k tagKey) {
	k[0] = byte(len(tag)) //nolint:gosec // at most frames.MaxDeliveryTag
	copy(k[1:], tag)
	return k
}

// tag returns the delivery-tag.
func (k *tagKey) tag() []byte { return k[1 : 1+k[0] : 1+k[0]] }

// tags holds the delivery-tags of a link from the client whose deliveries are
// unsettled: none of them may come again. [transport 2.8.7] The zero value is
// empty.
type tags struct {
	taken map[tagKey]struct{}
	order []tagged // by their coming; those before head are settled
	head  int
}

type tagged struct {
	id  uint32
	key tagKey
}

// take notes the tag of a delivery. It reports false if the tag is taken.
func (t *tags) take(id uint32, tag []byte) bool {
	k := keyOf(tag)
	if _, twice := t.taken[k]; twice {
		return false
	}
	if t.taken == nil {
		t.taken = make(map[tagKey]struct{})
	}
	t.taken[k] = struct{}{}
	t.order = append(t.order, tagged{id, k})
	return true
}

// free says that a delivery is settled, and returns its tag. The engine judges in
// order, so it is found at the front, unless the link's messages go to several
// addresses.
func (t *tags) free(id uint32) (tag []byte) {
	for i := t.head; i < len(t.order); i++ {
		if t.order[i].id != id {
			continue
		}
		k := t.order[i].key
		delete(t.taken, k)
		tag = k.tag()
		copy(t.order[t.head+1:i+1], t.order[t.head:i])
		t.head++
		break
	}
	if t.head == len(t.order) {
		t.order, t.head = t.order[:0], 0
	} else if t.head > 1024 && t.head > len(t.order)/2 {
		t.order, t.head = append(t.order[:0], t.order[t.head:]...), 0
	}
	return tag
}

// trim gives the memory of a busy time back.
func (t *tags) trim() {
	if len(t.taken) == 0 {
		*t = tags{}
	}
}
