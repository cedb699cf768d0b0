package main

import (
	"syscall"
	"time"

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

// accept looks for a tick first: on macOS accept(2) itself knows no SO_RCVTIMEO.
func accept(fd int) (int, unix.Sockaddr, error) {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(pollInterval/time.Millisecond))
	if err != nil {
		return -1, nil, err
	} else if n == 0 {
		return -1, nil, unix.EAGAIN
	}
	unix.SetNonblock(fd, true) // the client may be gone again: never sleep with the lock
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, peer, err := unix.Accept(fd)
	if err == unix.ECONNABORTED {
		err = unix.EINTR // the client is gone again: try the next one
	} else if err == nil {
		unix.CloseOnExec(fd)
		unix.SetNonblock(fd, false) // inherited
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &pollTimeval)
	}
	return fd, peer, err
}
