package socket

import "golang.org/x/sys/unix"

// NewSocket opens a blocking TCP socket that no child process inherits. The caller
// owns the descriptor.
func NewSocket(family int) (int, error) {
	return unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
}

var accept4 = unix.Accept4 // tests replace it, to inject errors

// Accept takes the oldest connection from the accept queue of the listening socket
// fd. The caller owns the new descriptor. If the queue is empty, the error is EAGAIN,
// after PollInterval, or immediately if fd is non-blocking. SOCK_CLOEXEC keeps child
// processes from inheriting the connection and holding it open. See accept(2).
func Accept(fd int) (c int, peer unix.Sockaddr, err error) {
	for c, peer, err = accept4(fd, unix.SOCK_CLOEXEC); isPendingError(err); {
		c, peer, err = accept4(fd, unix.SOCK_CLOEXEC)
	}
	return c, peer, err
}

// isPendingError reports whether err is an error of the connection that accept took
// from the queue. On Linux, accept(2) returns those as its own, and advises to retry:
// the listening socket and the next connection are unaffected.
func isPendingError(err error) bool {
	switch err {
	case unix.ECONNABORTED, unix.EPROTO, unix.ENOPROTOOPT, unix.EOPNOTSUPP,
		unix.ENETDOWN, unix.ENETUNREACH, unix.ENONET, unix.EHOSTDOWN, unix.EHOSTUNREACH:
		return true
	}
	return false
}
