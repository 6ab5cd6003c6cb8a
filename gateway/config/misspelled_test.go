package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A variable with a slip of the pen was ignored without a word, where a key of the file
// is an error.
func TestMisspelledVariablesAreFound(t *testing.T) {
	got := FindMisspelled([]string{
		"SELVEDGE_SEND_TIMEUOT=5s", "SELVEDGE_SEED=a:6222", "SELVEDGE_CONFIGS=x",
		"SELVEDGE_SEND_TIMEOUT=5s", "SELVEDGE_CONFIG=x", "SELVEDGE_PASSWORD=x", "SELVEDGE_TLS=true", "SEND_TIMEUOT=1", "PATH=",
		"SELVEDGE_PORT=tcp://10.0.0.1:61613", "SELVEDGE_SERVICE_HOST=10.0.0.1", "SELVEDGE_PORT_61613_TCP_ADDR=10.0.0.1", // by Kubernetes
	})
	want := []Misspelled{
		{"SELVEDGE_SEND_TIMEUOT", "SELVEDGE_SEND_TIMEOUT"}, {"SELVEDGE_SEED", "SELVEDGE_SEEDS"}, {"SELVEDGE_CONFIGS", "SELVEDGE_CONFIG"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("got (+), want (-):\n%s", d)
	}
}
