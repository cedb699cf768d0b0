package main

import "syscall"

// killWithParent returns attributes that make the kernel kill a child process
// when the thread that started it ends: prctl(2), PR_SET_PDEATHSIG. That thread
// lives as long as the program, because no goroutine here is locked to a thread.
func killWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
