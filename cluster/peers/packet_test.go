package peers

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/selvedge-mq/selvedge/routing/engine"
)

// drawHead draws a head that is valid with messages if seq is not 0.
func drawHead(t *rapid.T) head {
	u := rapid.Uint64()
	return head{
		lane:  engine.Lane(rapid.IntRange(0, engine.Lanes-1).Draw(t, "lane")),
		flags: byte(rapid.IntRange(0, flagsKnown).Draw(t, "flags")),
		from:  u.Draw(t, "from"), to: u.Draw(t, "to"),
		fromConn: u.Draw(t, "fromConn"), toConn: u.Draw(t, "toConn"),
		seq: u.Draw(t, "seq"), ack: u.Draw(t, "ack"), grant: u.Draw(t, "grant"),
	}
}

func TestPacket_WhatWasWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawHead(t)
		var msgs [][]byte
		if want.seq != 0 {
			msgs = rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 50), 1, 20).Draw(t, "messages")
		}
		b, wantSize := make([]byte, headLen), 0
		for _, m := range msgs {
			b = appendMessage(b, m)
			wantSize += len(m)
		}
		want.put(b)
		got, body, size, err := parsePacket(b)
		if err != nil {
			t.Fatalf("got error %v, want none", err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(head{})); diff != "" {
			t.Fatalf("head (-want +got):\n%s", diff)
		}
		if size != wantSize {
			t.Fatalf("got size %d, want %d", size, wantSize)
		}
		for i, m := range msgs {
			var msg []byte
			if msg, body, err = nextMessage(body); err != nil || !bytes.Equal(msg, m) {
				t.Fatalf("message %d: got %x, %v, want %x", i, msg, err, m)
			}
		}
		if len(body) != 0 {
			t.Fatalf("got %d bytes left, want none", len(body))
		}
	})
}

func TestPacket_WhatIsMalformedIsRefused(t *testing.T) {
	valid := func(change func(b []byte) []byte) []byte {
		b := appendMessage(make([]byte, headLen), []byte("abc"))
		(&head{seq: 1}).put(b)
		return change(b)
	}
	cases := []struct {
		name string
		b    []byte
		want error
	}{
		{"a short head", valid(func(b []byte) []byte { return b[:headLen-1] }), errPacketShort},
		{"another version", valid(func(b []byte) []byte { b[0] = 9; return b }), errPacketVersion},
		{"a fifth lane", valid(func(b []byte) []byte { b[1] = engine.Lanes; return b }), errPacketLane},
		{"an unknown flag", valid(func(b []byte) []byte { b[2] = 0x80; return b }), errPacketFlags},
		{"a number without messages", valid(func(b []byte) []byte { return b[:headLen] }), errPacketEmpty},
		{"messages without a number", valid(func(b []byte) []byte { (&head{}).put(b); return b }), errPacketEmpty},
		{"a cut message", valid(func(b []byte) []byte { return b[:len(b)-1] }), errPacketFrame},
		{"a cut length", valid(func(b []byte) []byte { return b[:headLen+2] }), errPacketFrame},
		{"a huge length", valid(func(b []byte) []byte { b[headLen] = 0xff; return b }), errPacketFrame},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if _, _, _, err := parsePacket(c.b); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestNotice_WhatWasWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := rapid.Uint64Min(1)
		want := notice{
			kind:    kind(rapid.IntRange(0, int(kinds)-1).Draw(t, "kind")),
			storage: rapid.Bool().Draw(t, "storage"),
			node:    string(rapid.SliceOfN(rapid.Byte(), 1, maxNode).Draw(t, "node")),
			session: u.Draw(t, "session"), conn: u.Draw(t, "conn"),
			echoSession: u.Draw(t, "echoSession"), echo: u.Draw(t, "echo"),
			window: u.Draw(t, "window"), control: u.Draw(t, "control"),
		}
		got, err := parseNotice(want.encode())
		if err != nil {
			t.Fatalf("got error %v, want none", err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(notice{})); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

func TestRequest_WhatWasWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := request{
			left: rapid.Uint32().Draw(t, "left"), from: rapid.StringN(1, 60, maxNode).Draw(t, "from"),
			method: rapid.StringN(0, 60, maxNode).Draw(t, "method"),
			body:   rapid.SliceOf(rapid.Byte()).Draw(t, "body"),
		}
		got, err := parseRequest(want.encode())
		if err != nil {
			t.Fatalf("got error %v, want none", err)
		}
		if got.left != want.left || got.from != want.from || got.method != want.method || !bytes.Equal(got.body, want.body) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}

func TestToken_DifferentNamesHaveDifferentTokens(t *testing.T) {
	plain := rapid.StringMatching(`[nx]?[a-z0-9.\-* >]{1,6}`)
	rapid.Check(t, func(t *rapid.T) {
		a, b := plain.Draw(t, "a"), plain.Draw(t, "b")
		if (a == b) != (token(a) == token(b)) {
			t.Fatalf("%q and %q: got tokens %q and %q", a, b, token(a), token(b))
		}
		if bytes.ContainsAny([]byte(token(a)), ".*> ") {
			t.Fatalf("%q: got token %q, want no character that NATS reads", a, token(a))
		}
	})
}

func FuzzPacket(f *testing.F) {
	b := appendMessage(appendMessage(make([]byte, headLen), []byte("abc")), nil)
	(&head{lane: engine.LaneSend, seq: 7, ack: 3, grant: 12}).put(b)
	f.Add(b)
	empty := make([]byte, headLen)
	(&head{flags: flagProbe}).put(empty)
	f.Add(empty)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, body, size, err := parsePacket(b)
		if err != nil {
			return
		}
		again := make([]byte, headLen)
		for len(body) > 0 {
			var msg []byte
			if msg, body, err = nextMessage(body); err != nil {
				t.Fatalf("a checked packet does not parse: %v", err)
			}
			size -= len(msg)
			again = appendMessage(again, msg)
		}
		h.put(again)
		if size != 0 || !bytes.Equal(again, b) {
			t.Fatalf("got %x written again, want %x", again, b)
		}
	})
}

func FuzzNotice(f *testing.F) {
	f.Add((&notice{kind: kindHello, node: "a", session: 1, conn: 2, storage: true}).encode())
	f.Add((&notice{kind: kindBeat, node: "a b", session: 1}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := parseNotice(b)
		if err == nil && !bytes.Equal(n.encode(), b) {
			t.Fatalf("got %x written again, want %x", n.encode(), b)
		}
	})
}

func FuzzRequest(f *testing.F) {
	f.Add((&request{left: 5, from: "a", method: "m", body: []byte("b")}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRequest(b)
		if err == nil && !bytes.Equal(r.encode(), b) {
			t.Fatalf("got %x written again, want %x", r.encode(), b)
		}
	})
}
