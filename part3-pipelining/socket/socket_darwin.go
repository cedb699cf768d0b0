package socket

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// macOS has no SOCK_CLOEXEC, so a second call sets the flag, and ForkLock keeps other
// goroutines from starting a child process between the two.

// NewSocket opens a blocking TCP socket that no child process inherits. The caller
// owns the descriptor.
func NewSocket(family int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	return fd, err
}

// Accept takes the oldest connection from the accept queue of the listening socket
// fd. The caller owns the new descriptor. The error is EAGAIN if none has arrived
// after PollInterval. On macOS accept(2) ignores SO_RCVTIMEO, so poll(2) waits first.
func Accept(fd int) (int, unix.Sockaddr, error) {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(PollInterval/time.Millisecond))
	if err != nil {
		return -1, nil, err
	} else if n == 0 {
		return -1, nil, unix.EAGAIN
	}
	unix.SetNonblock(fd, true) // the client may have left since poll: never sleep with ForkLock held
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, peer, err := unix.Accept(fd)
	if err == unix.ECONNABORTED {
		err = unix.EINTR // the client has left: the caller retries, and gets the next one
	} else if err == nil {
		unix.CloseOnExec(fd)
		unix.SetNonblock(fd, false) // on macOS, inherited from the listening socket
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &pollTimeval)
	}
	return fd, peer, err
}
