package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"
)

func TestParseDestination(t *testing.T) {
	for text, want := range map[string][2]string{
		"orders":           {"queue://orders", "/queue/orders"},
		"queue://orders":   {"queue://orders", "/queue/orders"},
		"/queue/a/b":       {"queue://a/b", "/queue/a/b"},
		"topic://prices.*": {"topic://prices.*", "/topic/prices.*"},
		"/topic/prices":    {"topic://prices", "/topic/prices"},
	} {
		d, err := parseDestination(text)
		if got := [2]string{d.String(), d.stomp()}; err != nil || got != want {
			t.Errorf("%s: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "queue://", "/queue/", "ftp://x", "/exchange/x"} {
		if d, err := parseDestination(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, d)
		}
	}
}

func TestParseHeader(t *testing.T) {
	if h, err := parseHeader("a=b=c"); err != nil || h != (header{"a", "b=c"}) {
		t.Errorf("got %v, %v", h, err)
	}
	for _, text := range []string{"", "a", "=b"} {
		if _, err := parseHeader(text); err == nil {
			t.Errorf("%q: got no error", text)
		}
	}
}

func TestAMQPMessageAndBack(t *testing.T) {
	m := amqpMessage(outgoing{body: []byte("hi"), persistent: true, headers: []header{
		{"content-type", "text/plain"}, {"correlation-id", "c"}, {"subject", "s"}, {"zone", "7"}, {"area", "x"},
	}})
	m.Annotations = amqp.Annotations{"x-opt-a": int32(1)}
	m.Header.DeliveryCount = 2
	want := []header{
		{"durable", "true"},
		{"priority", "4"},
		{"delivery-count", "2"},
		{"correlation-id", "c"},
		{"subject", "s"},
		{"content-type", "text/plain"},
		{"area", "x"},
		{"zone", "7"},
		{"annotation x-opt-a", "1"},
	}
	if diff := cmp.Diff(want, amqpHeaders(m), cmp.AllowUnexported(header{})); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func TestAMQPBody(t *testing.T) {
	for name, c := range map[string]struct {
		m    amqp.Message
		want string
	}{
		"one data section":      {amqp.Message{Data: [][]byte{[]byte("a")}}, "a"},
		"several data sections": {amqp.Message{Data: [][]byte{[]byte("a"), []byte("b")}}, "ab"},
		"a text":                {amqp.Message{Value: "a"}, "a"},
		"bytes as a value":      {amqp.Message{Value: []byte("a")}, "a"},
		"a number":              {amqp.Message{Value: int64(7)}, "7"},
		"a sequence":            {amqp.Message{Sequence: [][]any{{"a", 1}}}, "[[a 1]]"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := string(amqpBody(&c.m)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// Whoever asks for TLS gets no connection in the clear, however the address is spelled.
func TestTLSIsNotLeftOut(t *testing.T) {
	for text, tls := range map[string]bool{"a:1": true, "stomp://a": true, "amqp://a": true, "wss://a": true, "ws://a": false} {
		f := clientFlags{Protocol: protocolSTOMP, Server: text, tlsFlags: tlsFlags{TLS: true}}
		at, err := f.server()
		if tls && (err != nil || !at.TLS) {
			t.Errorf("%s: got %+v, error %v, want TLS", text, at, err)
		}
		if e, usage := errors.AsType[*exitError](err); !tls && (!usage || e.code != exitUsage) {
			t.Errorf("%s: got %v, want an error of usage", text, err)
		}
	}
}

// Who meets a certificate of an issuer that the system does not know is told the flag
// that names one.
func TestUnknownIssuerIsToldTheFlag(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	err := (&apiFlags{HTTP: s.URL, Timeout: time.Minute}).get(t.Context(), "/", nil)
	if err == nil || !strings.HasSuffix(err.Error(), ": name who issued it by --ca FILE") {
		t.Errorf("got %v, want the flag", err)
	}
}
