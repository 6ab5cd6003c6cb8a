package engine

import (
	"testing"

	"github.com/selvedge-mq/selvedge/routing"
)

// The later part of a report whose beginning was lost with a connection was taken for the
// whole: the leader ended what the node has in flight, and handed it out again.
func TestReport_APartWithoutItsBeginningIsNone(t *testing.T) {
	by, former := hearer{session: 7, report: 2}, hearer{session: 6, report: 2}
	sub := func(id uint64, keys ...reportedKey) reportedSub {
		return reportedSub{id: id, addr: routing.Queue("q"), inFlight: keys}
	}
	begin := &report{by: by, more: true, subs: []reportedSub{sub(1, reportedKey{key: 10})}}
	middle := &report{by: by, rest: true, more: true, subs: []reportedSub{sub(1, reportedKey{key: 11}), sub(2)}}
	end := &report{by: by, rest: true, subs: []reportedSub{sub(3)}}
	for _, c := range []struct {
		name  string
		parts []*report
		subs  int // of what comes of them; 0: nothing does
	}{
		{name: "all parts", parts: []*report{begin, middle, end}, subs: 3},
		{name: "an end alone", parts: []*report{end}},
		{name: "no beginning", parts: []*report{middle, end}},
		{name: "the beginning of a former process", parts: []*report{{by: former, more: true}, middle, end}},
		{name: "the beginning of a former report", parts: []*report{{by: hearer{session: 7, report: 1}, more: true}, middle, end}},
		{name: "the beginning behind the rest", parts: []*report{middle, begin, end}, subs: 2},
		{name: "a whole one behind an end alone", parts: []*report{end, {by: by, subs: begin.subs}}, subs: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &leader{partial: map[string]*report{}}
			var whole *report
			for _, p := range c.parts {
				if r := l.gatherReport("n", p); r != nil {
					whole = r
				}
			}
			switch {
			case whole == nil && c.subs > 0, whole != nil && len(whole.subs) != c.subs:
				t.Fatalf("got %+v, want %d subscriptions", whole, c.subs)
			case whole != nil && len(l.partial) != 0:
				t.Error("a part is left behind")
			}
		})
	}
}
