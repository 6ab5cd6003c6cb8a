package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/selvedge-mq/selvedge/protocols/amqp/wire/golden"
)

// show writes a value as the golden files do.
func show(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return fmt.Sprintf("string %q", v)
	case []byte:
		return strings.TrimSpace("binary " + hex.EncodeToString(v))
	case UUID, Decimal32, Decimal64, Decimal128:
		return fmt.Sprintf("%v %x", TypeOf(v), v)
	case Char:
		return fmt.Sprintf("char %U", v)
	case List:
		return "list" + showAll(v)
	case Map:
		var s []string
		for _, e := range v {
			s = append(s, show(e.Key)+": "+show(e.Value))
		}
		return "map[" + strings.Join(s, ", ") + "]"
	case Array:
		var s strings.Builder
		for _, d := range v.Descriptors {
			s.WriteString("(" + show(d) + ") ")
		}
		return "array " + s.String() + v.Type.String() + showAll(v.Elements)
	case Described:
		return "(" + show(v.Descriptor) + ") " + show(v.Value)
	}
	return fmt.Sprintf("%v %v", TypeOf(v), v)
}

func showAll(values []any) string {
	var s []string
	for _, v := range values {
		s = append(s, show(v))
	}
	return "[" + strings.Join(s, ", ") + "]"
}

func readGolden(tb testing.TB) []golden.Case {
	tb.Helper()
	cases, err := golden.Read("testdata/values.txt")
	if err != nil {
		tb.Fatal(err)
	}
	return cases
}

// [168] [169] [170] [171] [177] [178] Every encoding is read, and the smallest is written.
func TestValuesAreWhatTheGoldenFileSays(t *testing.T) {
	for _, c := range readGolden(t) {
		t.Run(c.Name, func(t *testing.T) {
			r := NewReader(c.Bytes, Limits{})
			v := r.Value()
			if c.Error != "" {
				if err := r.Err(); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.Error) {
					t.Fatalf("got error %v, want one with %q", err, c.Error)
				}
				return
			}
			if r.Err() != nil || r.Len() != 0 {
				t.Fatalf("got error %v and %d bytes left, want none", r.Err(), r.Len())
			}
			if diff := cmp.Diff(c.Want, show(v)); diff != "" {
				t.Errorf("value (-want +got):\n%s", diff)
			}
			if got := AppendValue(nil, v); !bytes.Equal(got, c.Own) {
				t.Errorf("encoding: got % x, want % x", got, c.Own)
			}
			s := NewReader(c.Bytes, Limits{})
			if s.Skip(); s.Err() != nil || s.Len() != 0 {
				t.Errorf("skip: got error %v and %d bytes left, want none", s.Err(), s.Len())
			}
		})
	}
}
