package stomp

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
)

func TestATraceShowsFramesWithoutBodiesAndPasswords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all protocols.Traces
		s := newStageOf(t, Options{Env: protocols.Env{Auth: prototest.Users{}, Traces: &all}})
		defer s.close()
		frames, stop := all.Watch(protocols.TraceFilter{})
		others, stopOthers := all.Watch(protocols.TraceFilter{User: "bob"})
		s.script("> CONNECT\n> accept-version:1.2\n> login:alice\n> passcode:topsecret\n> \n> ^@\n" +
			"> SEND\n> destination:/queue/q\n> receipt:r\\c1\n> \n> body^@\n")
		stop()
		stopOthers()
		s.script("> SEND\n> destination:/queue/q\n> \n> body^@\n")
		var got []string
		for len(frames) > 0 {
			f := <-frames
			way := "in "
			if f.Sent {
				way = "out "
			}
			got = append(got, way+strings.ReplaceAll(sessionID.ReplaceAllString(f.Frame, "SESSION"), "\n", "|"))
		}
		want := []string{
			"in CONNECT|accept-version:1.2|login:alice|passcode:***",
			"out CONNECTED|version:1.2|session:SESSION|server:Selvedge/1.0-test ActiveMQ|heart-beat:0,0",
			`in SEND|destination:/queue/q|receipt:r\c1|(4 octets)`,
			`out RECEIPT|receipt-id:r\c1`,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if len(others) != 0 {
			t.Errorf("got %d frames of another user, want none", len(others))
		}
	})
}

// Headers of a SEND with names of secrets were masked on their way in, and shown on
// their way out to a consumer.
func TestATraceMasksSecretsOfMessagesBothWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all protocols.Traces
		s := newStageOf(t, Options{Env: protocols.Env{Auth: prototest.Users{}, Traces: &all}})
		defer s.close()
		frames, stop := all.Watch(protocols.TraceFilter{})
		s.script("> CONNECT\n> accept-version:1.2\n> login:alice\n> passcode:topsecret\n> \n> ^@\n" +
			"> SUBSCRIBE\n> id:1\n> destination:/queue/q\n> \n> ^@\n" +
			"> SEND\n> destination:/queue/q\n> Token:topsecret\n> passcode:topsecret\n> zone:7\n> \n> topsecret^@\n")
		stop()
		var out string
		for len(frames) > 0 {
			f := <-frames
			if strings.Contains(f.Frame, "topsecret") {
				t.Errorf("got %q, want no secret in it", f.Frame)
			}
			if f.Sent {
				out = f.Frame
			}
		}
		if !strings.Contains(out, "\nToken:***\npasscode:***\nzone:7\n(9 octets)") {
			t.Errorf("got %q last, want a MESSAGE with two headers masked", out)
		}
	})
}

// The log of level debug told of the end of a connection, not of its begin nor of its
// user.
func TestTheLogOfLevelDebugTellsTheLifeOfAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		s := newStageOf(t, Options{Env: protocols.Env{Auth: prototest.Users{}, Log: zerolog.New(&out).Level(zerolog.DebugLevel)}})
		s.script("> CONNECT\n> accept-version:1.1\n> login:alice\n> passcode:topsecret\n> heart-beat:1000,2000\n> \n> ^@\n> FLY\n> \n> ^@\n")
		s.close()
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		want := []string{
			`"user":"alice","version":"1.1","beats_in":1000,"beats_out":2000,"message":"connection opened"`,
			`"user":"alice","error":"stomp: Unknown STOMP action: FLY","message":"connection refused a request"`,
			`"user":"alice","error":"stomp: Unknown STOMP action: FLY","message":"connection ended"`,
		}
		if len(lines) != len(want) {
			t.Fatalf("got %d lines, want %d:\n%s", len(lines), len(want), out.String())
		}
		for i, text := range want {
			if !strings.Contains(lines[i], text) {
				t.Errorf("got line %s, want %s", lines[i], text)
			}
		}
	})
}

func TestTheLogOfLevelTraceShowsFrames(t *testing.T) {
	before := zerolog.GlobalLevel()
	zerolog.SetGlobalLevel(zerolog.TraceLevel)
	t.Cleanup(func() { zerolog.SetGlobalLevel(before) })
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		s := newStageOf(t, Options{Env: protocols.Env{Auth: prototest.Users{}, Log: zerolog.New(&out).Level(zerolog.TraceLevel)}})
		if _, err := io.WriteString(s.peer("").nc, "CONNECT\nlogin:alice\npasscode:topsecret\n\n\x00"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s.close()
		if got := out.String(); !strings.Contains(got, `"frame":"CONNECT\nlogin:alice\npasscode:***"`) || strings.Contains(got, "topsecret") {
			t.Errorf("got %s, want the frame without the password", got)
		}
	})
}
