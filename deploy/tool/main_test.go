package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSecretIsWrittenOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	var seen []string
	for range 2 {
		if err := run([]string{"secret", path}); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, string(text))
	}
	if seen[0] != seen[1] {
		t.Errorf("second run: got another secret, want the first one kept")
	}
	if n := len(strings.TrimSpace(seen[0])); n < 32 {
		t.Errorf("length of the secret: got %d, want at least 32", n)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("files beside the secret: got %d, want none", len(entries)-1)
	}
}

func TestReady(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		ready  bool
	}{
		{"a node that takes clients is ready", http.StatusOK, true},
		{"a node that does not is not", http.StatusServiceUnavailable, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/readyz" {
					t.Errorf("path: got %s, want /readyz", r.URL.Path)
				}
				w.WriteHeader(c.status)
			}))
			defer s.Close()
			if err := run([]string{"ready", strings.TrimPrefix(s.URL, "http://")}); (err == nil) != c.ready {
				t.Errorf("ready: got %v, want %v", err, c.ready)
			}
		})
	}
}
