package frame

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestAppendHeaderWritesWhatTheVersionCanExpress(t *testing.T) {
	for _, c := range []struct {
		name       string
		version    Version
		key, value string
		want       string
	}{
		{"1.2 escapes all four", V12, "k:", "a\nb\rc\\d:e", "k\\c:a\\nb\\rc\\\\d\\ce\n"},
		{"1.1 escapes CR too", V11, "k", "a\rb", "k:a\\rb\n"},
		{"1.0 escapes nothing", V10, "k", "a\\b:c", "k:a\\b:c\n"},
		{"1.0 leaves out a value with LF", V10, "k", "a\nb", ""},
		{"1.0 leaves out a key with a colon", V10, "k:k", "a", ""},
		{"NUL is left out", V12, "k", "a\x00b", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := string(AppendHeader(nil, c.version, c.key, c.value))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAppendBlockDecodesForVersion10(t *testing.T) {
	const block = "a:b\\cc\nd\\ce:f\ng:h\\ni\n"
	if got := string(AppendBlock(nil, V12, []byte(block))); got != block {
		t.Errorf("1.2: got %q, want it unchanged", got)
	}
	if got, want := string(AppendBlock(nil, V10, []byte(block))), "a:b:c\n"; got != want {
		t.Errorf("1.0: got %q, want %q", got, want)
	}
}

func TestCutTakesOneFrameAtATime(t *testing.T) {
	for _, c := range []struct {
		name string
		want []string // together what is cut
	}{
		{"nothing", nil},
		{"a frame alone", []string{"A\n\n\x00\n"}},
		{"two, the first without its LF", []string{"A\nk:v\n\nbody\x00", "B\n\n\x00\n"}},
		{"NUL in a body with a length", []string{"A\ncontent-length:5\n\na\x00\n\x00b\x00\n", "B\n\n\x00\n"}},
		{"heart-beats between frames", []string{"A\n\n\x00\n", "\n\n", "B\n\n\x00\n", "\n"}},
		{"a body of empty lines", []string{"A\n\n\n\n\x00\n", "B\n\n\x00\n"}},
		{"no frame at the end", []string{"A\n\n\x00\n", "B\nk:v\n"}},
		{"a length beyond the end", []string{"A\ncontent-length:9\n\nx\x00\nB\n\n\x00\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for rest := []byte(strings.Join(c.want, "")); len(rest) > 0; {
				var first []byte
				first, rest = Cut(rest)
				got = append(got, string(first))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestFrameSurvivesEncodingAndReading(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := Version(rapid.IntRange(1, 2).Draw(t, "version"))
		text := rapid.StringMatching(`[a-z:\\\n\r é]{1,12}`)
		key, value := text.Draw(t, "key"), text.Draw(t, "value")
		if key == "content-length" {
			t.Skip("it has a meaning")
		}
		body := strings.ReplaceAll(rapid.String().Draw(t, "body"), "\x00", "")
		dst := AppendCommand(nil, Message)
		dst = AppendHeader(dst, v, key, value)
		dst = AppendBody(dst, body)
		var pool Pool
		r := NewReader(strings.NewReader(string(dst)), &pool, Limits{HeaderCount: 9, HeaderSize: 999, Body: 99999})
		r.SetVersion(v)
		b, err := r.Read()
		if err != nil {
			t.Fatal(err)
		}
		f := &b.Frames[0]
		k, got := f.Header(0)
		if string(k) != key || string(got) != value || string(f.Body) != body || f.Command != Message {
			t.Errorf("got %q, want %q: %q and body %q", describe(f), key, value, body)
		}
	})
}
