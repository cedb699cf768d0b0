package backends

import (
	"os/exec"
	"syscall"
)

// ownGroup gives a command a process group, and lets it end with this process.
func ownGroup(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
