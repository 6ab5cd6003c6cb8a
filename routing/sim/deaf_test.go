package sim_test

import (
	"time"

	"github.com/selvedge-mq/selvedge/routing"
)

// deafenOne has a node read nothing of what the others, or one of them, send it, for
// long. It is there all the time, and says so. Meanwhile there is much to tell it.
func (w *world) deafenOne() {
	if len(w.links) == 0 {
		return
	}
	d := w.between(200*time.Millisecond, 8*time.Second)
	w.hinder(d)
	n, one := w.anyNode(), w.links[w.rng.IntN(len(w.links))]
	all := w.chance(0.6)
	var deaf []*int
	for _, l := range w.links {
		for end := range l.ends {
			if l.ends[end] == n && (all || l == one) {
				deaf = append(deaf, &l.deaf[end])
			}
		}
	}
	w.notef("%s reads nothing, of all %v", n.name, all)
	for _, d := range deaf {
		*d++
	}
	w.after(d, func() {
		w.notef("%s reads again", n.name)
		for _, d := range deaf {
			*d = max(0, *d-1)
		}
		w.changed()
	})
	for range 1 + w.rng.IntN(2) {
		w.fidget(w.now() + d)
	}
}

// fidget has a client come and go at queues and topics until some time. It asks for no
// results: those of many subscriptions at one instant come in any order.
func (w *world) fidget(until time.Duration) {
	p := w.anyProcess()
	if p == nil {
		return
	}
	at := queueName(w.rng.IntN(w.plan.queues))
	if w.chance(0.4) {
		at = topicName(0)
	}
	c := w.connect(p, "f", at)
	if !c.alive {
		return
	}
	pace := w.between(time.Millisecond, 40*time.Millisecond)
	var come func()
	come = func() {
		c.act(func() {
			if w.healed || w.now() > until {
				c.alive = false
				c.session.Close()
				return
			}
			ear := c.session.Subscribe(routing.SubscribeOptions{Address: at}, c, nil, 0)
			w.after(w.between(1, 2*pace), func() {
				c.act(func() { ear.Close(nil, 0) })
			})
			w.after(pace, come)
		})
	}
	come()
}
