package cluster

import (
	"errors"
	"strings"
	"testing"
)

// A busy node does not answer in time: it was taken for one that hears nothing, so that
// a live node could be retired.
func TestConsent_SilenceIsNone(t *testing.T) {
	for _, c := range []struct {
		heard  bool
		silent int
		want   string // empty: agreed
	}{
		{false, 0, ""},
		{false, -1, ""}, // one answered that did not count as up
		{false, 1, "1 of the nodes that are up did not say in time"},
		{true, 1, "another node hears it"},
		{true, 0, "another node hears it"},
	} {
		err := consent(c.heard, c.silent)
		if (err == nil) != (c.want == "") || err != nil && (!errors.Is(err, ErrRetirement) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("heard %v, %d silent: got %v, want %q", c.heard, c.silent, err, c.want)
		}
	}
}
