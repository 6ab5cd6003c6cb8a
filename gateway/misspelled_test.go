package gateway

import (
	"testing"

	"github.com/selvedge-mq/selvedge/gateway/config"
	"github.com/selvedge-mq/selvedge/internal/linetest"
)

func TestAMisspelledVariableIsLogged(t *testing.T) {
	c, err := config.Load(config.Source{Env: environmentOf(map[string]string{"SELVEDGE_LOG_FORMAT": "json"})})
	if err != nil {
		t.Fatal(err)
	}
	var log linetest.Lines
	if _, err := New(Options{Config: c, Err: &log, Misspelled: []config.Misspelled{{Name: "SELVEDGE_SEED", Meant: "SELVEDGE_SEEDS"}}}); err != nil {
		t.Fatal(err)
	}
	if n := log.Count(`"level":"warn"`, `"variable":"SELVEDGE_SEED"`, `"meant":"SELVEDGE_SEEDS"`); n != 1 {
		t.Errorf("got the log %s, want a warning", log.String())
	}
}
