package protocols

import (
	"strings"
	"testing"
)

func TestWatchersSeeWhatTheyAskFor(t *testing.T) {
	var all Traces
	if all.Active() || (*Traces)(nil).Active() {
		t.Error("got somebody who watches, want nobody")
	}
	one := Trace{Protocol: "stomp", Conn: "S-1", Client: "127.0.0.1:1", User: "alice"}
	for _, tt := range []struct {
		name   string
		filter TraceFilter
		want   int
	}{
		{"everything", TraceFilter{}, 1},
		{"its protocol", TraceFilter{Protocol: "stomp"}, 1},
		{"another protocol", TraceFilter{Protocol: "amqp"}, 0},
		{"its connection", TraceFilter{Conn: "S-1"}, 1},
		{"another connection", TraceFilter{Conn: "S-2"}, 0},
		{"its client and user", TraceFilter{Client: "127.0.0.1:1", User: "alice"}, 1},
		{"its client, another user", TraceFilter{Client: "127.0.0.1:1", User: "bob"}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			frames, stop := all.Watch(tt.filter)
			all.Offer(one)
			if got := len(frames); got != tt.want || !all.Active() {
				t.Errorf("got %d frames, want %d", got, tt.want)
			}
			stop()
			all.Offer(one)
			if got := len(frames); got != tt.want || all.Active() {
				t.Errorf("got %d frames after the end, want %d", got, tt.want)
			}
		})
	}
}

func TestASlowWatcherLosesFrames(t *testing.T) {
	var all Traces
	frames, stop := all.Watch(TraceFilter{})
	defer stop()
	for range traceRoom + 3 {
		all.Offer(Trace{})
	}
	for range traceRoom {
		<-frames
	}
	all.Offer(Trace{})
	if got := (<-frames).Dropped; got != 3 {
		t.Errorf("got %d dropped, want 3", got)
	}
}

func TestLongFramesAreCut(t *testing.T) {
	var all Traces
	frames, stop := all.Watch(TraceFilter{})
	defer stop()
	whole := strings.Repeat("x", maxTraceFrame)
	for _, tt := range []struct{ frame, want string }{
		{whole, whole},
		{whole + "y", whole + "…"},
		{whole[1:] + "ü", whole[1:] + "…"}, // not in the middle of a character
	} {
		all.Offer(Trace{Frame: tt.frame})
		if got := (<-frames).Frame; got != tt.want {
			t.Errorf("got %d bytes, …%q, want %d", len(got), got[len(got)-8:], len(tt.want))
		}
	}
}
