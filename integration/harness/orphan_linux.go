package harness

import (
	"os/exec"
	"syscall"
)

// endWithTests has the kernel kill the process when that of the tests ends, however it
// ends: go test kills it, or it panics, when a time is over, and then no cleanup runs.
func endWithTests(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
