package stomp

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/selvedge-mq/selvedge/routing"
)

func TestDestinationsOfAllSpellings(t *testing.T) {
	for _, c := range []struct {
		in   string
		want routing.Address
		code routing.Code
	}{
		{in: "/queue/a.b", want: routing.Queue("a.b")},
		{in: "/queue/a/b", want: routing.Queue("a/b")},
		{in: "/topic/a", want: routing.Topic("a")},
		{in: "queue://a", want: routing.Queue("a")},
		{in: "topic://a", want: routing.Topic("a")},
		{in: "/amq/queue/a", want: routing.Queue("a")},
		{in: "a", want: routing.Queue("a")},
		{in: "/queue/a>b", want: routing.Queue("a>b")},
		{in: "/queue/", code: routing.CodeInvalid},
		{in: "/nothing/a", code: routing.CodeInvalid},
		{in: "/queue/a\x01", code: routing.CodeInvalid},
		{in: "/queue/\xff", code: routing.CodeInvalid},
		{in: "/temp-queue/a", want: routing.Address{Kind: routing.KindTempQueue, Name: "a"}},
		{in: "/temp-topic/a", want: routing.Address{Kind: routing.KindTempTopic, Name: "a"}},
		{in: "/remote-temp-queue/a", want: routing.Address{Kind: routing.KindTempQueue, Name: "a"}},
		{in: "/remote-temp-topic/a", want: routing.Address{Kind: routing.KindTempTopic, Name: "a"}},
		{in: "/reply-queue/a", want: routing.Address{Kind: routing.KindTempQueue, Name: "a"}},
		{in: "/dsub/a", code: routing.CodeNotSupported},
		{in: "/exchange/a/b", code: routing.CodeNotSupported},
		{in: "/queue/a,/topic/b", want: routing.Queue("a")},
		{in: "/queue/a,/temp-queue/b", code: routing.CodeNotSupported},
		{in: "/queue/a," + strings.Repeat("b,", 63) + "c", code: routing.CodeInvalid},
		{in: "a::b", want: routing.Topic("a")},
		{in: "a::a", want: routing.Queue("a")},
		{in: "/topic/a::b", want: routing.Topic("a")},
		{in: "/queue/a::a", want: routing.Queue("a")},
		{in: "/queue/a::b", code: routing.CodeNotSupported},
		{in: "a::", code: routing.CodeInvalid},
		{in: "/topic/a.*.b", code: routing.CodeNotSupported},
		{in: "/topic/a.>", code: routing.CodeNotSupported},
		{in: "/topic/#", code: routing.CodeNotSupported},
		{in: "/queue/Consumer.a.VirtualTopic.b", code: routing.CodeNotSupported},
	} {
		t.Run(c.in, func(t *testing.T) {
			d, err := neutral.parse(c.in)
			code := routing.CodeOK
			if w, ok := err.(*wireError); ok { //nolint:errorlint // never wrapped
				code = w.code
			}
			if code != c.code {
				t.Fatalf("got code %v, want %v", code, c.code)
			}
			if code == routing.CodeOK && d.address != c.want {
				t.Errorf("got %v, want %v", d.address, c.want)
			}
		})
	}
}

func TestDestinationTypeTurnsABareNameIntoATopic(t *testing.T) {
	for _, c := range []struct {
		name, header string
		want         routing.Address
		fails        bool
	}{
		{name: "a", header: "MULTICAST", want: routing.Topic("a")},
		{name: "a", header: "ANYCAST", want: routing.Queue("a")},
		{name: "/queue/a", header: "MULTICAST", want: routing.Queue("a")},
		{name: "a", header: "multicast", fails: true},
	} {
		d, err := neutral.parse(c.name)
		if err != nil {
			t.Fatal(err)
		}
		d, err = d.withType(c.header)
		if (err != nil) != c.fails || (err == nil && d.address != c.want) {
			t.Errorf("%s %s: got %v %v, want %v", c.name, c.header, d.address, err, c.want)
		}
	}
}

// What others are told of an address is read as that address, in every dialect.
func TestASpelledAddressIsReadAsItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := dialects[rapid.SampledFrom([]Dialect{ActiveMQ, Artemis, RabbitMQ, Strict}).Draw(t, "dialect")]
		a := routing.Address{
			Kind: rapid.SampledFrom([]routing.Kind{routing.KindQueue, routing.KindTopic, routing.KindTempQueue, routing.KindTempTopic}).Draw(t, "kind"),
			Name: rapid.StringMatching(`[a-zA-Z%/ €:-][a-zA-Z0-9.%/ €-]{0,20}[a-z]`).Draw(t, "name"),
		}
		d, err := b.parse(b.spell(a))
		if err != nil || d.address != a || d.own || d.bare {
			t.Fatalf("%s: got %+v and %v, want %v", b.spell(a), d, err, a)
		}
	})
}
