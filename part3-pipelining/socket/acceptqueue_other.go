//go:build !linux

package socket

import "golang.org/x/sys/unix"

// AcceptQueueLen returns 0 if the accept queue of the listening socket fd is empty.
// Otherwise it returns SOMAXCONN, the most that fit: poll(2) says only that at least
// one connection waits.
func AcceptQueueLen(fd int) int {
	ask := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if n, _ := unix.Poll(ask, 0); n < 1 {
		return 0
	}
	return unix.SOMAXCONN
}
