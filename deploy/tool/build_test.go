package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDescribe(t *testing.T) {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"a branch", map[string]string{"HEAD": "ref: refs/heads/main\n", "refs/heads/main": commit + "\n"}, "devel-0123456789ab"},
		{
			"a packed branch",
			map[string]string{"HEAD": "ref: refs/heads/main\n", "packed-refs": "# pack-refs\n" + commit + " refs/heads/main\n"},
			"devel-0123456789ab",
		},
		{"a commit", map[string]string{"HEAD": commit + "\n"}, "devel-0123456789ab"},
		{"a branch without a commit", map[string]string{"HEAD": "ref: refs/heads/main\n"}, "devel"},
		{"no repository", nil, "devel"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range tt.files {
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := describe(dir); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestBuildRefusesAStrangeVersion(t *testing.T) {
	t.Setenv("VERSION", "1.0 -X main.other=1")
	if err := build(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is not a version") {
		t.Errorf("got %v, want the version refused", err)
	}
}
