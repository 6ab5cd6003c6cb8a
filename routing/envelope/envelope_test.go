package envelope

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/selvedge-mq/selvedge/routing"
)

// goldens are envelopes of version 1; testdata/v1.txt has their bytes and never changes.
var goldens = map[string]routing.Envelope{
	"smallest": {Address: routing.Queue("a"), Encoding: routing.EncodingSTOMP},
	"every field": {
		Address: routing.Topic("news.sport"), Encoding: routing.EncodingAMQP, Persistent: true, Priority: 9,
		Timestamp: 1700000000000, Expiry: 1700000060000, DeliverAt: 1700000030000,
		Group: "g1", DedupeID: "d-1", Payload: []byte{0x00, 0x53, 0x75, 0xa0, 0x02, 'h', 'i'},
	},
}

func TestGolden_BytesOfVersion1NeverChange(t *testing.T) {
	raw, err := os.ReadFile("testdata/v1.txt")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(raw)) {
		name, text, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		want, err := hex.DecodeString(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		e, ok := goldens[name]
		if !ok {
			t.Fatalf("no envelope for the golden %q", name)
		}
		seen++
		if got := Append(nil, &e); !bytes.Equal(got, want) {
			t.Errorf("%s: got %x, want %x", name, got, want)
		}
		got, err := Decode(want)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(e.Payload) == 0 {
			got.Payload = nil
		}
		if diff := cmp.Diff(e, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if seen != len(goldens) {
		t.Errorf("got %d goldens, want %d", seen, len(goldens))
	}
}

func TestDecode_WhatAppendWroteComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := routing.Envelope{
			Address: routing.Address{
				Kind: routing.Kind(rapid.IntRange(1, 4).Draw(t, "kind")),
				Name: rapid.StringN(1, 40, 100).Draw(t, "name"),
			},
			Encoding:   routing.Encoding(rapid.IntRange(1, 2).Draw(t, "encoding")),
			Persistent: rapid.Bool().Draw(t, "persistent"),
			Priority:   rapid.Byte().Draw(t, "priority"),
			Timestamp:  rapid.Int64Min(0).Draw(t, "timestamp"),
			Expiry:     rapid.Int64Min(0).Draw(t, "expiry"),
			DeliverAt:  rapid.Int64Min(0).Draw(t, "deliver"),
			Group:      rapid.String().Draw(t, "group"),
			DedupeID:   rapid.String().Draw(t, "dedupe"),
			Payload:    rapid.SliceOfN(rapid.Byte(), 1, 50).Draw(t, "payload"),
		}
		b := Append(nil, &e)
		if len(b) > Size(&e) {
			t.Fatalf("got %d octets, Size promised at most %d", len(b), Size(&e))
		}
		got, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, got); diff != "" {
			t.Fatal(diff)
		}
		h, err := Peek(b)
		if err != nil || string(h.Name) != e.Address.Name || h.Persistent != e.Persistent || h.Expiry != e.Expiry {
			t.Fatalf("got head %+v, %v", h, err)
		}
		known, err := DecodeFor(b, e.Address)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, known); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, e := range goldens {
		f.Add(Append(nil, &e))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := Decode(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("got %v, want ErrMalformed", err)
			}
			return
		}
		again, err := Decode(Append(nil, &e))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, again); diff != "" {
			t.Fatal(diff)
		}
	})
}
