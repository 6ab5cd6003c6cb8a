package frames

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/selvedge-mq/selvedge/protocols/amqp/wire/golden"
)

func readGolden(tb testing.TB) []golden.Case {
	tb.Helper()
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		tb.Fatalf("got %d golden files and %v", len(paths), err)
	}
	var all []golden.Case
	for _, p := range paths {
		cases, err := golden.Read(p)
		if err != nil {
			tb.Fatal(err)
		}
		for i := range cases {
			cases[i].Name = strings.TrimSuffix(filepath.Base(p), ".txt") + ": " + cases[i].Name
		}
		all = append(all, cases...)
	}
	return all
}

// decodeFrame decodes a whole frame.
func decodeFrame(b []byte) (h Header, p Performative, payload []byte, err error) {
	if h, err = ParseHeader(b); err != nil {
		return h, nil, nil, err
	}
	p, payload, err = new(Decoder).Decode(h.Type, b[h.Body():h.Size])
	return h, p, payload, err
}

func appendFrame(h Header, p Performative, payload []byte) []byte {
	switch t, ok := p.(*Transfer); {
	case ok:
		return append(AppendTransfer(nil, h.Channel, t, len(payload)), payload...)
	case h.Type == TypeSASL:
		return AppendSASL(nil, p)
	}
	return AppendFrame(nil, h.Channel, p)
}

func TestFramesAreWhatTheGoldenFilesSay(t *testing.T) {
	for _, c := range readGolden(t) {
		t.Run(c.Name, func(t *testing.T) {
			h, p, payload, err := decodeFrame(c.Bytes)
			if c.Error != "" {
				if _, ok := errors.AsType[*DecodeError](err); !ok || !strings.Contains(err.Error(), c.Error) {
					t.Fatalf("got error %v, want one with %q", err, c.Error)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := golden.Show(p)
			if len(payload) > 0 {
				got += " payload " + golden.Show(payload)
			}
			if diff := cmp.Diff(c.Want, got); diff != "" {
				t.Errorf("performative (-want +got):\n%s\ngot %s", diff, got)
			}
			own := appendFrame(h, p, payload)
			if !bytes.Equal(own, c.Own) {
				t.Errorf("encoding:\n got % x\nwant % x", own, c.Own)
			}
			_, again, _, err := decodeFrame(own)
			if diff := cmp.Diff(p, again); diff != "" || err != nil {
				t.Errorf("own encoding: error %v (-want +got):\n%s", err, diff)
			}
		})
	}
}
