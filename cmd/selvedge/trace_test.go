package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/selvedge-mq/selvedge/gateway/api"
)

// TestATraceCannotWriteToTheTerminal: what a client sends is shown, not obeyed.
func TestATraceCannotWriteToTheTerminal(t *testing.T) {
	line, err := json.Marshal(api.TraceFrame{
		Time: "2026-11-25T10:00:00.005Z", Protocol: "stomp", Client: "127.0.0.1:1", User: "al\x1b[2Jice",
		Frame: "SEND\nd:grün\x1b]0;x\x07\r\u009b\u202e\xff\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := writeTrace(&out, line); err != nil {
		t.Fatal(err)
	}
	want := `10:00:00.005 stomp al\x1b[2Jice@127.0.0.1:1 > SEND` + "\n" + `    d:grün\x1b]0;x\a\r\u009b\u202e�` + "\n"
	if got := out.String(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
