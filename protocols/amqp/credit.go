package amqp

import "math"

// grantMax bounds what the engine is granted at once for one link, whatever the
// client's credit: it bounds the deliveries that wait in memory.
const grantMax = 2048

// credit is the arithmetic of a link towards the client. [transport 2.6.7]
type credit struct {
	count    uint32 // delivery-count: deliveries begun, or given up by a drain
	left     uint32 // link-credit: how many more the client takes
	granted  uint32 // what the engine may still deliver
	waiting  uint32 // delivered by the engine, not begun
	drain    bool   // the client wants unused credit back
	owed     bool   // and waits for our answer
	draining bool   // the engine was asked to drain
	again    bool   // the credit changed since
	short    bool   // there is no room for all of it
	most     uint32 // while it is short: what the engine may be granted
	parched  bool   // a drain came to its end for want of room
}

// set takes the client's view: link-credit counts from its delivery-count, which
// lags behind ours while transfers are under way.
func (k *credit) set(count, linkCredit uint32) {
	k.left = ahead(count+min(linkCredit, math.MaxInt32), k.count)
	k.again = k.draining
}

// begin counts a delivery whose first frame goes out.
func (k *credit) begin() {
	k.count++
	k.left--
}

// delivered counts deliveries from the engine. After credit was taken back those
// that were under way are beyond it.
func (k *credit) delivered(n uint32) {
	k.granted -= min(n, k.granted)
	k.most -= min(n, k.most)
	k.waiting += n
}

// want returns how much the engine's credit is off.
func (k *credit) want() int32 {
	d := int32(min(k.left, grantMax)) - int32(min(k.granted+k.waiting, math.MaxInt32))
	if k.short {
		d = min(d, int32(k.most)-int32(k.granted)) //nolint:gosec // at most grantMax
	}
	return d
}

// align grants the engine what the client's credit allows. Credit above grantMax
// is granted in steps, not delivery by delivery. To lower it, all is taken back
// first: how much that was shows only when what is under way has come, which the
// answer to a drain without credit says. Until then nothing is granted.
func (l *sending) align(now bool) {
	k := &l.credit
	d := k.want()
	switch {
	case d == 0 || l.over || k.draining:
	case !now && (k.owed || d > 0 && d < grantMax/2 && k.granted+k.waiting > 0):
	case d > 0:
		k.granted += uint32(d)
		l.sub.Grant(d)
	case k.granted > 0:
		l.sub.Grant(-int32(k.granted)) //nolint:gosec // at most grantMax
		k.granted = 0
		l.drain()
		k.again = true
	}
}

// drain asks the engine for what there is within the credit.
func (l *sending) drain() {
	if !l.credit.draining {
		l.credit.draining, l.credit.again = true, false
		l.sub.Drain()
	}
}

// drained takes the engine's answer: n credits were left and are gone, and no
// delivery is under way.
func (l *sending) drained(n uint32) {
	k := &l.credit
	if l.over || l.phase != linkAttached {
		return
	}
	k.draining, k.granted, k.parched, l.recalled = false, 0, false, false
	switch {
	case !k.drain:
		l.align(true)
	case k.again, n == 0 && k.want() > 0: // there may be more within the credit
		l.align(true)
		l.drain()
	case n == 0 && k.short: // as well
		k.parched = true
	default:
		l.finishDrain()
	}
}

// finishDrain answers a drain when everything that was delivered is written.
func (l *sending) finishDrain() {
	k := &l.credit
	if !k.owed || k.draining || k.parched || l.cut.active || k.waiting > 0 && k.left > 0 || l.phase != linkAttached {
		return
	}
	k.owed = false
	k.count += k.left // [transport 2.6.7] the rest of the credit is given up
	k.left = 0
	l.sendFlow(true)
}
