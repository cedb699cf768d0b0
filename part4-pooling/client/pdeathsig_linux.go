package client

import "syscall"

// KillWithParent makes the kernel kill a child when the thread that started it ends:
// prctl(2), PR_SET_PDEATHSIG. No thread of this program ends before the program
// does, for no goroutine here is locked to one.
func KillWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
