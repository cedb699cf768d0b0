package main

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// macOS has no SOCK_CLOEXEC: the flag is set one call later, and ForkLock keeps
// another goroutine from starting a child in between.

func newSocket(family int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	return fd, err
}

func accept(fd int) (int, unix.Sockaddr, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, peer, err := unix.Accept(fd)
	if err == nil {
		unix.CloseOnExec(fd)
		unix.SetNonblock(fd, false) // inherited from a listener that is being drained
	}
	return fd, peer, err
}
