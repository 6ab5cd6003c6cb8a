package stomp

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
	"github.com/selvedge-mq/selvedge/routing"
)

func TestCodecDecodesWhatAProducerMeant(t *testing.T) {
	for _, c := range []struct {
		name    string
		payload string
		want    routing.Message
	}{
		{
			"text without length and type", "destination:/queue/a\n\nhello",
			routing.Message{To: "/queue/a", BodyKind: routing.BodyText, Body: []byte("hello"), Priority: 4},
		},
		{
			"bytes with a length", "destination:/queue/a\ncontent-length:5\n\nhello",
			routing.Message{To: "/queue/a", Body: []byte("hello"), Priority: 4},
		},
		{
			"text that says so", "destination:/queue/a\ncontent-length:5\namq-msg-type:text\n\nhello",
			routing.Message{To: "/queue/a", BodyKind: routing.BodyText, Body: []byte("hello"), Priority: 4},
		},
		{
			"bytes that say so", "destination:/queue/a\namq-msg-type:bytes\n\nhello",
			routing.Message{To: "/queue/a", Body: []byte("hello"), Priority: 4},
		},
		{
			"the first of a header that comes twice", "destination:/queue/a\ncontent-type:x/y\ncontent-type:x/z\ncorrelation-id:1\ncorrelation-id:2\npriority:5\npriority:6\n\nhello",
			routing.Message{To: "/queue/a", ContentType: "x/y", CorrelationID: "1", Body: []byte("hello"), Priority: 5},
		},
		{
			"no text that is not UTF-8", "destination:/queue/a\n\n\xff",
			routing.Message{To: "/queue/a", Body: []byte("\xff"), Priority: 4},
		},
		{
			"fields", "priority:9\nexpires:5\ntimestamp:6\npersistent:true\ndestination:a\ncorrelation-id:c\\cd\nreply-to:/topic/r\n" +
				"type:t\ncontent-type:x/y\nJMSXGroupID:g\nJMSXGroupSeq:3\nfoo:bar\nfoo:ignored\namqp-ap-ack:1\namqp-types:foo=long\n\n",
			routing.Message{
				To: "a", Priority: 9, Expiry: 5, CreationTime: 6, Persistent: true, CorrelationID: "c:d",
				ReplyTo: routing.Topic("r"), Subject: "t", ContentType: "x/y", Group: "g", GroupSequence: 3,
				Properties: []routing.Property{{Key: "foo", Value: "bar"}, {Key: "ack", Value: "1"}}, Body: []byte{},
			},
		},
		{
			"a reply-to that is no destination stays a property", "reply-to:/temp-queue/x\n\n",
			routing.Message{
				Priority: 4, BodyKind: routing.BodyText, Body: []byte{},
				Properties: []routing.Property{{Key: "reply-to", Value: "/temp-queue/x"}},
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Codec{}.Decode([]byte(c.payload))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCodecKeepsANeutralMessageThroughSTOMP(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[a-zA-Z:\\\n\r é]{0,9}`)
		key := rapid.StringMatching(`[a-z%][a-z:\n,=%]{0,9}`)
		value := rapid.OneOf(
			rapid.Map(text, func(s string) any { return s }),
			rapid.Map(rapid.Bool(), func(b bool) any { return b }),
			rapid.Map(rapid.Int64(), func(n int64) any { return n }),
			rapid.Map(rapid.Uint64(), func(n uint64) any { return n }),
			rapid.Map(rapid.Float64(), func(x float64) any { return x }),
			rapid.Just[any](nil),
			rapid.Just[any]([]byte{1, 2}),
		)
		m := &routing.Message{
			MessageID: text.Draw(t, "id"), CorrelationID: text.Draw(t, "correlation"), To: text.Draw(t, "to"),
			Subject: text.Draw(t, "subject"), ContentEncoding: text.Draw(t, "encoding"), Group: text.Draw(t, "group"),
			ContentType: rapid.StringMatching(`([a-z]/[a-z])?`).Draw(t, "type"),
			Priority:    rapid.Uint8().Draw(t, "priority"),
			Expiry:      rapid.Int64Range(0, 1<<60).Draw(t, "expiry"),
			Persistent:  rapid.Bool().Draw(t, "persistent"),
			BodyKind:    rapid.SampledFrom([]routing.BodyKind{routing.BodyBytes, routing.BodyText, routing.BodyValue}).Draw(t, "kind"),
			Body:        []byte(rapid.String().Draw(t, "body")),
		}
		if rapid.Bool().Draw(t, "reply") {
			m.ReplyTo = routing.Topic("r")
		}
		for k, v := range rapid.MapOfN(key, value, 0, 5).Draw(t, "properties") {
			m.Properties = append(m.Properties, routing.Property{Key: k, Value: v})
		}
		payload, err := Codec{}.Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Codec{}.Decode(payload)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m, got); diff != "" {
			t.Errorf("payload %q (-want +got):\n%s", payload, diff)
		}
	})
}

// FuzzCodecDecode converts payloads. One that can be read is written so that it is read
// the same from then on, its head alone says what the whole says, and what is written is
// well-formed and no larger than what came allows.
func FuzzCodecDecode(f *testing.F) {
	for _, payload := range []string{
		"destination:/queue/a\nfoo:b\\nc\namqp-types:foo=long\n\nhello",
		"\n",
		"priority:999\nexpires:x\nbad\n\n\x00",
		"destination:/queue/a\ncontent-length:5\n\nhello",
		"destination:/queue/a\ncontent-length:5\namq-msg-type:text\n\nhello",
		"destination:/queue/a\n\n\xff",
		"priority:9\nexpires:5\ntimestamp:6\npersistent:true\ndestination:a\ncorrelation-id:c\\cd\nreply-to:/topic/r\n" +
			"type:t\ncontent-type:x/y\nJMSXGroupID:g\nJMSXGroupSeq:3\nfoo:bar\nfoo:ignored\namqp-ap-ack:1\namqp-types:foo=long\n\n",
		"reply-to:/temp-queue/x\n\n",
		"amqp-body:raw\ncontent-type:application/x-amqp-section\namqp-message-id:m\namqp-to:t\ndestination:d\n\n\x00\x53",
		"a:1\nb:true\nc:1.5\nd:ff\ne:\namqp-types:a=ulong,b=boolean,c=double,d=binary,e=null\n\n",
	} {
		f.Add([]byte(payload))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		m, err := Codec{}.Decode(payload)
		if head, _ := cutBody(payload); err != nil || bytes.IndexByte(head, 0) >= 0 {
			return // no header that was read has NUL
		}
		checkHead(t, payload, m)
		own, err := Codec{}.Encode(m)
		if err != nil {
			t.Fatalf("a decoded message is not encoded: %v", err)
		}
		if most := 4*len(payload) + 200; len(own) > most {
			t.Errorf("got %d octets for %d, want at most %d", len(own), len(payload), most)
		}
		lines, body := cutBody(own)
		if !bytes.Equal(body, m.Body) {
			t.Errorf("got the body %q, want %q", body, m.Body)
		}
		count := 0
		for range frame.Lines(lines) {
			count++
		}
		if want := bytes.Count(lines, []byte{'\n'}); count != want || bytes.IndexByte(lines, 0) >= 0 {
			t.Errorf("got %d headers that can be read in %q, want %d", count, lines, want)
		}
		again, err := Codec{}.Decode(own)
		if err != nil {
			t.Fatalf("own encoding: %v", err)
		}
		if diff := cmp.Diff(m, again, cmpopts.EquateNaNs(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("encoded and decoded again as %q (-want +got):\n%s", own, diff)
		}
	})
}

// checkHead holds what a head alone says to what the whole message says.
func checkHead(t *testing.T, payload []byte, want *routing.Message) {
	t.Helper()
	at := bodyAt(payload)
	if at < 0 {
		return
	}
	got, run, err := Codec{}.DecodeHead(payload[:at], int64(len(payload)))
	if err != nil {
		t.Fatalf("the head of a message that can be read: %v", err)
	}
	if run.Offset != int64(at) || run.Length != int64(len(want.Body)) {
		t.Errorf("got a body of %d octets at %d, want %d at %d", run.Length, run.Offset, len(want.Body), at)
	}
	got.Body, got.BodyKind = want.Body, want.BodyKind
	if diff := cmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" {
		t.Errorf("the head alone (-whole +head):\n%s", diff)
	}
}
