package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// VersionCmd is the verb version.
type VersionCmd struct{}

// Run prints what was built, and by which compiler.
func (VersionCmd) Run(s Streams) error {
	_, err := fmt.Fprintf(s.Out, "selvedge %s (%s %s/%s)\n", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// version is set by the linker where the go command has no repository to ask, as
// in the build of the image.
var version string

// buildVersion is the version of the release or, without one, what the go command
// stamped into the binary: a tag, a pseudo-version, or "devel" where it knew none.
func buildVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}
