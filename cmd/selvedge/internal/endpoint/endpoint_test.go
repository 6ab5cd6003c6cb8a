package endpoint

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text, protocol string
		want           Endpoint
	}{
		{"a:61613", STOMP, Endpoint{Protocol: STOMP, Addr: "a:61613"}},
		{"[::1]:5672", AMQP, Endpoint{Protocol: AMQP, Addr: "[::1]:5672"}},
		{"stomp://a", AMQP, Endpoint{Protocol: STOMP, Addr: "a:61613"}},
		{"stomp+ssl://a:7", STOMP, Endpoint{Protocol: STOMP, Addr: "a:7", TLS: true}},
		{"STOMP+SSL://a", STOMP, Endpoint{Protocol: STOMP, Addr: "a:61614", TLS: true}},
		{"amqp://a/", STOMP, Endpoint{Protocol: AMQP, Addr: "a:5672"}},
		{"amqps://ann:s%3Acret@[::1]", STOMP, Endpoint{Protocol: AMQP, Addr: "[::1]:5671", TLS: true, User: "ann", Password: "s:cret"}},
		{"ws://a:8161", STOMP, Endpoint{Protocol: STOMP, Addr: "a:8161", WebSocket: "ws://a:8161/stomp"}},
		{"wss://ann:secret@a/", AMQP, Endpoint{Protocol: AMQP, Addr: "a:443", TLS: true, WebSocket: "wss://a:443/amqp", User: "ann", Password: "secret"}},
		{"wss://a:1/ws?x=y", STOMP, Endpoint{Protocol: STOMP, Addr: "a:1", TLS: true, WebSocket: "wss://a:1/ws?x=y"}},
	} {
		got, err := Parse(c.text, c.protocol)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.text, diff)
		}
	}
}

func TestShown_HidesPasswords(t *testing.T) {
	for text, want := range map[string]string{
		"a:61613":                   "a:61613",
		"amqps://ann:secret@a:5671": "amqps://ann:xxxxx@a:5671",
		"ws://ann:secret@a/stomp":   "ws://ann:xxxxx@a/stomp",
		"ws://ann:secret@a/%":       "a URL that cannot be read",
	} {
		if got := Shown(text); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "want HOST:PORT or a URL",
		"a":                           "want HOST:PORT or a URL",
		"http://a":                    "the scheme http is not known",
		"stomp://":                    "names no host",
		"stomp://ann:secret@/":        "names no host",
		"amqp://a/vhost":              "which only a WebSocket has",
		"amqp://ann:secret@a:port/":   "cannot be read",
		"amqp://ann:secret@a%zz:1/":   "cannot be read",
		"stomp://ann:sec%zzret@a:1/x": "cannot be read",
	} {
		_, err := Parse(text, STOMP)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: got %v, want it to say %q, and no password", text, err, want)
		}
	}
}

func TestDefault(t *testing.T) {
	for want, got := range map[string]Endpoint{
		"127.0.0.1:61613": Default(STOMP, false), "127.0.0.1:61614": Default(STOMP, true),
		"127.0.0.1:5672": Default(AMQP, false), "127.0.0.1:5671": Default(AMQP, true),
	} {
		if got.Addr != want {
			t.Errorf("got %+v, want %s", got, want)
		}
	}
}

func TestTrustSaysWhichFileIsWrong(t *testing.T) {
	for want, trust := range map[string]Trust{
		"ca: ":                     {CA: "testdata/none.pem"},
		"ca: there is no":          {CA: "endpoint_test.go"},
		"one is nothing without":   {Cert: "a"},
		"cert, key: open none.pem": {Cert: "none.pem", Key: "none.pem"},
	} {
		if _, err := trust.Config(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %q", trust, err, want)
		}
	}
}
