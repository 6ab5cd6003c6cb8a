package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// versionPattern is what may stand in a version: it goes through a linker's flag.
var versionPattern = regexp.MustCompile(`^[0-9A-Za-z.+_-]{1,100}$`)

// build compiles both binaries of the image. The version is VERSION of the
// environment or, without one, the commit that is checked out.
func build(dir string) error {
	version := os.Getenv("VERSION")
	if version == "" {
		version = describe(".git")
	}
	if !versionPattern.MatchString(version) {
		return fmt.Errorf("VERSION: %q is not a version: use letters, digits and . + _ -", version)
	}
	flags := "-s -w -X main.version=" + version
	//nolint:gosec,noctx // the flags are checked, and who builds may interrupt it
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags="+flags, "-o", dir+"/", "./cmd/selvedge", "./deploy/tool")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// describe returns the version of what is checked out, from the few files of the
// repository that say so: an image's build has no git.
func describe(git string) string {
	const unknown = "devel"
	head, err := os.ReadFile(filepath.Join(git, "HEAD")) //nolint:gosec // the checkout's own
	if err != nil {
		return unknown
	}
	commit := strings.TrimSpace(string(head))
	if ref, ok := strings.CutPrefix(commit, "ref: "); ok {
		commit = resolve(git, ref)
	}
	if len(commit) < 12 {
		return unknown
	}
	return unknown + "-" + commit[:12]
}

// resolve returns the commit of a branch, from its own file or from the packed ones.
func resolve(git, ref string) string {
	if text, err := os.ReadFile(filepath.Join(git, filepath.FromSlash(ref))); err == nil { //nolint:gosec // the checkout's own
		return strings.TrimSpace(string(text))
	}
	packed, err := os.ReadFile(filepath.Join(git, "packed-refs")) //nolint:gosec // the checkout's own
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(packed)) {
		if commit, name, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name == ref {
			return commit
		}
	}
	return ""
}
