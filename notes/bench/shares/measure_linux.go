package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime is what all threads of a process have run for, those that have ended
// included. Each process has a clock of that, whose number is made of the process's
// (clock_getcpuclockid(3)).
func cpuTime(pid int) time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(int32(^pid)<<3|2, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// resident is how much memory a process has, in bytes.
func resident(pid int) (bytes int64) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	fmt.Sscan(rest, &bytes)
	return bytes << 10
}

// kernelMemory is what the kernel has in the buffers of all TCP sockets of the machine,
// in bytes: what a client does not read is there first, and in no process.
func kernelMemory() (bytes int64) {
	text, _ := os.ReadFile("/proc/net/sockstat")
	if _, rest, found := strings.Cut(string(text), "TCP: "); found {
		_, rest, _ = strings.Cut(rest, " mem ")
		fmt.Sscan(rest, &bytes)
	}
	return bytes * int64(os.Getpagesize())
}

// lowerPriority lets others run first.
func lowerPriority() { syscall.Setpriority(syscall.PRIO_PROCESS, 0, 10) }

// dieTogether has a program killed when we are.
func dieTogether(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
