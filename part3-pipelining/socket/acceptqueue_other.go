//go:build !linux

package socket

import "golang.org/x/sys/unix"

// AcceptQueueLen is 0 if no connection waits in the accept queue of the listening socket
// fd. If some do, it is as many as fit: the kernel does not say more.
func AcceptQueueLen(fd int) int {
	ask := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if n, _ := unix.Poll(ask, 0); n < 1 {
		return 0
	}
	return unix.SOMAXCONN
}
