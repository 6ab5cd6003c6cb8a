package wire

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type record struct {
	A uint32
	B Optional[string]
	C bool
	D []byte
}

func readRecord(b []byte) (record, []byte, error) {
	r := NewReader(b, Limits{})
	f := r.Fields()
	v := record{A: f.NeedUint("a"), B: f.OptString("b"), C: f.Bool("c"), D: f.Binary("d")}
	f.End()
	return v, r.Rest(), r.Err()
}

// [24] Short lists, and longer ones than are known.
func TestFieldsOfAListMayBeLeftOutOrUnknown(t *testing.T) {
	for _, c := range []struct {
		name string
		list List
		want record
		fail string
	}{
		{"all fields are read", List{uint32(1), "b", true, []byte{9}}, record{1, Some("b"), true, []byte{9}}, ""},
		{"fields at the end may be left out", List{uint32(1)}, record{A: 1}, ""},
		{"null means absent", List{uint32(1), nil, nil, []byte{}}, record{A: 1, D: []byte{}}, ""},
		{"fields after the known ones are ignored", List{uint32(1), nil, nil, nil, "x", List{}}, record{A: 1}, ""},
		{"a mandatory field may not be null", List{nil, "b"}, record{}, "field a: is mandatory"},
		{"a mandatory field may not be left out", List{}, record{}, "field a: is mandatory"},
		{"a field has one type", List{uint64(1)}, record{}, "field a: got ulong, want uint"},
		{"the field is named in the error", List{uint32(1), Symbol("b")}, record{}, "field b: got symbol, want string"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, rest, err := readRecord(append(AppendList(nil, c.list), "rest"...))
			if c.fail != "" {
				if err == nil || !strings.Contains(err.Error(), c.fail) {
					t.Fatalf("got error %v, want one with %q", err, c.fail)
				}
				e, ok := errors.AsType[*Error](err)
				if want := strings.Contains(c.fail, "mandatory"); !ok || e.Missing != want {
					t.Errorf("Missing: got %v, want %v", e.Missing, want)
				}
				return
			}
			if diff := cmp.Diff(c.want, got); diff != "" || err != nil || string(rest) != "rest" {
				t.Errorf("error %v, rest %q (-want +got):\n%s", err, rest, diff)
			}
		})
	}
}

func TestListWriterLeavesOutNullsAtTheEnd(t *testing.T) {
	write := func(f func(w *ListWriter)) any {
		w := BeginList([]byte("x"), 7)
		f(&w)
		r := NewReader(w.End()[1:], Limits{})
		v := r.Value()
		if r.Err() != nil || r.Len() != 0 {
			t.Fatalf("error %v, %d bytes left", r.Err(), r.Len())
		}
		return v.(Described).Value
	}
	long := strings.Repeat("s", 300)
	for _, c := range []struct {
		name string
		f    func(w *ListWriter)
		want List
	}{
		{"nothing is an empty list", func(*ListWriter) {}, List{}},
		{"nulls alone are an empty list", func(w *ListWriter) { w.Null(); w.Flag(false) }, List{}},
		{"nulls between fields stay", func(w *ListWriter) { w.Null(); w.Uint(1); w.Null(); w.Text("a"); w.Null() }, List{nil, uint32(1), nil, "a"}},
		{"a long list gets wide sizes", func(w *ListWriter) { w.Bool(false); w.String(long) }, List{false, long}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(any(c.want), write(c.f)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// [26] The forms of a descriptor.
func TestDescriptorMayBeAnyUlongOrAKnownSymbol(t *testing.T) {
	names := map[string]uint64{"amqp:open:list": 0x10}
	for _, c := range []struct {
		name string
		b    []byte
		want uint64
		fail string
	}{
		{"small ulong", []byte{0, codeSmallUlong, 0x10}, 0x10, ""},
		{"ulong", []byte{0, codeUlong, 0, 0, 0, 0, 0, 0, 0, 0x10}, 0x10, ""},
		{"ulong zero", []byte{0, codeUlong0}, 0, ""},
		{"symbol", AppendSymbol([]byte{0}, "amqp:open:list"), 0x10, ""},
		{"unknown symbol", AppendSymbol([]byte{0}, "amqp:nothing:list"), 0, "unknown descriptor"},
		{"string", AppendString([]byte{0}, "amqp:open:list"), 0, "neither ulong nor symbol"},
		{"not described", AppendUint(nil, 1), 0, "want described"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := NewReader(c.b, Limits{})
			got := r.Descriptor(names)
			if c.fail == "" && (r.Err() != nil || got != c.want) {
				t.Errorf("got %#x and %v, want %#x", got, r.Err(), c.want)
			}
			if c.fail != "" && (r.Err() == nil || !strings.Contains(r.Err().Error(), c.fail)) {
				t.Errorf("got error %v, want one with %q", r.Err(), c.fail)
			}
		})
	}
}
