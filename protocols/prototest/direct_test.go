package prototest

import (
	"testing"

	"github.com/selvedge-mq/selvedge/routing"
)

func TestScriptsSayWhatTheyMean(t *testing.T) {
	b := New()
	defer b.Close()
	for _, c := range []struct {
		name  string
		words []string
		known bool
		ok    bool
	}{
		{"sends are kept back", []string{"hold"}, true, true},
		{"the node is full", []string{"full", "on"}, true, true},
		{"half full", []string{"full", "half"}, true, false},
		{"a request fails", []string{"fail", "send", "queue://a", "locked"}, true, true},
		{"one without an address", []string{"fail", "commit", "-"}, true, true},
		{"an address that is none", []string{"fail", "send", "queue://"}, true, false},
		{"no address", []string{"mend", "send"}, true, false},
		{"nothing is ended", []string{"cancel"}, true, false},
		{"a verb of somebody else", []string{"wait", "1s"}, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			known, err := b.Direct(c.words)
			if known != c.known || (err == nil) != c.ok {
				t.Errorf("got known %v and %v, want %v and an error: %v", known, err, c.known, !c.ok)
			}
		})
	}
	e := FailureOf([]string{"too-large", "for", "us"}, routing.CodeFull)
	if e.Code != routing.CodeTooLarge || e.Reason != "for us" {
		t.Errorf("got %v, want the code and the reason", e)
	}
	if e := FailureOf([]string{"no", "room"}, routing.CodeFull); e.Code != routing.CodeFull || e.Reason != "no room" {
		t.Errorf("got %v, want the code that was given", e)
	}
}
