package stomp

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
)

// frames writes frames for a script: | is LF.
func frames(all ...string) string {
	var b strings.Builder
	for _, f := range all {
		if order, ok := strings.CutPrefix(f, "! "); ok {
			b.WriteString("! " + order + "\n")
			continue
		}
		for line := range strings.SplitSeq(f+"^@", "|") {
			b.WriteString("> " + line + "\n")
		}
	}
	return b.String()
}

// [stomp Error_01] What a request did is undone, and what comes behind it is done.
func TestKeepOpenGoesOnBehindAnErrorAboutARequest(t *testing.T) {
	const subscribe = "SUBSCRIBE|id:1|destination:/queue/a|ack:client||"
	for _, c := range []struct {
		name   string
		frames []string
		want   []string // in order
		never  string
	}{
		{
			"a frame that is wrong",
			[]string{"SEND|receipt:1||x"},
			[]string{"ERROR", "receipt-id:1"},
			"RECEIPT\n< receipt-id:1",
		},
		{
			"a SEND that the broker refuses",
			[]string{"! fail send queue://a no room", "SEND|destination:/queue/a|receipt:1||x"},
			[]string{"message:no room", "receipt-id:1"},
			"RECEIPT\n< receipt-id:1",
		},
		{
			"RECEIPTs behind it come in order",
			[]string{"! fail send queue://a no room", "! hold", "SEND|destination:/queue/b|receipt:1||x", "SEND|destination:/queue/a|receipt:2||x", "SEND|destination:/queue/b|receipt:3||x", "! release"},
			[]string{"message:no room", "RECEIPT\n< receipt-id:1", "RECEIPT\n< receipt-id:3"},
			"RECEIPT\n< receipt-id:2",
		},
		{
			"a SUBSCRIBE that the broker refuses, and its id again",
			[]string{"! fail subscribe queue://a you may not", subscribe, "! wait 1ms", "SUBSCRIBE|id:1|destination:/queue/b|receipt:2||"},
			[]string{"message:you may not", "RECEIPT\n< receipt-id:2"},
			"",
		},
		{
			"a subscription that the broker ends, and its id again",
			[]string{"SEND|destination:/queue/a||x", subscribe, "! cancel queue://a", "! wait 1ms", subscribe},
			[]string{"MESSAGE", "message:Server cancelled subscription", "MESSAGE", "redelivered:true"},
			"",
		},
		{
			"an ACK of nothing",
			[]string{subscribe, "ACK|id:ID-0-9|receipt:1||"},
			[]string{"ERROR", "receipt-id:1"},
			"",
		},
		{
			"a COMMIT that fails: its messages can be acknowledged again",
			[]string{
				"SEND|destination:/queue/a||x", subscribe, "! fail commit queue://none not now", "BEGIN|transaction:t||",
				"ACK|id:ID-0-1|transaction:t||", "COMMIT|transaction:t|receipt:1||", "! wait 1ms", "ACK|id:ID-0-1|receipt:2||",
			},
			[]string{"message:not now", "receipt-id:1", "RECEIPT\n< receipt-id:2"},
			"RECEIPT\n< receipt-id:1",
		},
		{
			"an ACK that finds no room in a transaction: it is the client's again, and only ABORT is left",
			[]string{
				"! fail hold queue://a no room", "SEND|destination:/queue/a||x", subscribe, "BEGIN|transaction:t||", "! wait 1ms",
				"ACK|id:ID-0-1|transaction:t|receipt:1||", "SEND|destination:/queue/b|transaction:t|receipt:2||y", "ABORT|transaction:t|receipt:3||", "ACK|id:ID-0-1|receipt:4||",
			},
			[]string{
				"ERROR\n< message:the node has no room", "receipt-id:1", "ERROR\n< message:the transaction found no room", "receipt-id:2",
				"RECEIPT\n< receipt-id:3", "RECEIPT\n< receipt-id:4",
			},
			"RECEIPT\n< receipt-id:1",
		},
		{
			"a SEND of a transaction that the broker refuses: nothing of it is published, though COMMIT was sent ahead",
			[]string{
				"! fail send queue://a no room", "SUBSCRIBE|id:1|destination:/queue/b||",
				"BEGIN|transaction:t||", "SEND|destination:/queue/b|transaction:t||x", "SEND|destination:/queue/a|transaction:t|receipt:1||x",
				"COMMIT|transaction:t|receipt:2||", "! wait 1ms", "BEGIN|transaction:t|receipt:3||",
			},
			[]string{"message:no room", "receipt-id:1", "ERROR\n< message:a frame of the transaction was refused", "receipt-id:2", "RECEIPT\n< receipt-id:3"},
			"MESSAGE",
		},
		{
			"frames of a transaction that are wrong: it cannot commit, and what it acknowledged is the client's again",
			[]string{
				"SEND|destination:/queue/a||x", subscribe, "! wait 1ms", "BEGIN|transaction:t||", "ACK|id:ID-0-1|transaction:t||",
				"SEND|destination:|transaction:t||x", "COMMIT|transaction:t|receipt:2||", "ACK|id:ID-0-1|receipt:3||",
				"! wait 1ms", "BEGIN|transaction:u||", "ACK|id:nonsense|transaction:u||", "COMMIT|transaction:u|receipt:4||",
			},
			[]string{"ERROR", "ERROR\n< message:a frame of the transaction was refused", "receipt-id:2", "RECEIPT\n< receipt-id:3", "ERROR", "ERROR", "receipt-id:4"},
			"RECEIPT\n< receipt-id:2",
		},
		{
			"a transaction that is idle: its messages can be acknowledged again",
			[]string{
				"SEND|destination:/queue/a||x", subscribe, "BEGIN|transaction:t||", "! wait 1ms", "ACK|id:ID-0-1|transaction:t|receipt:1||",
				"! wait 6m", "ACK|id:ID-0-1|receipt:2||", "BEGIN|transaction:t|receipt:3||",
			},
			[]string{"RECEIPT\n< receipt-id:1", "ERROR\n< message:the transaction was idle", "RECEIPT\n< receipt-id:2", "RECEIPT\n< receipt-id:3"},
			"",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStageOf(t, Options{Env: protocols.Env{Auth: prototest.Users{}}, Switches: Switches{KeepOpen: true}})
				defer s.close()
				got := s.script(frames("CONNECT|accept-version:1.2||") + frames(c.frames...) +
					frames("! wait 1ms", "SEND|destination:/queue/alive|receipt:alive||x"))
				all := got
				for _, want := range append(c.want, "RECEIPT\n< receipt-id:alive") {
					_, rest, ok := strings.Cut(got, want)
					if !ok {
						t.Fatalf("got\n%swant %q in it", got, want)
					}
					got = rest
				}
				if strings.Contains(all, "= closed") || (c.never != "" && strings.Contains(all, c.never)) {
					t.Errorf("got\n%swant an open connection and no %q", all, c.never)
				}
			})
		})
	}
}

func TestKeepOpenClosesWhereNobodyKnowsWhereToGoOn(t *testing.T) {
	for _, c := range []struct{ name, frames string }{
		{"a header without a colon", frames("SEND|nonsense||")},
		{"an unknown command", frames("BOGUS||")},
		{"a temporary destination that cannot be made", frames("! fail create queue://none not here", "SEND|destination:/queue/a|reply-to:/temp-queue/x||")},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStageOf(t, Options{Env: protocols.Env{Auth: prototest.Users{}}, Switches: Switches{KeepOpen: true}})
				defer s.close()
				got := s.script(frames("CONNECT|accept-version:1.2||") + c.frames)
				if !strings.Contains(got, "ERROR") || !strings.Contains(got, "= closed") {
					t.Errorf("got\n%swant an ERROR and the end", got)
				}
			})
		})
	}
}
