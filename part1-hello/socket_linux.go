package main

import "golang.org/x/sys/unix"

// newSocket opens a TCP socket that no child process inherits.
func newSocket(family int) (int, error) {
	return unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
}

var accept4 = unix.Accept4 // tests put errors in its way

// accept takes the oldest connection out of fd's accept queue. Without
// SOCK_CLOEXEC a child process would keep the connection open behind our back.
func accept(fd int) (c int, peer unix.Sockaddr, err error) {
	for c, peer, err = accept4(fd, unix.SOCK_CLOEXEC); isPendingError(err); {
		c, peer, err = accept4(fd, unix.SOCK_CLOEXEC)
	}
	return c, peer, err
}

// isPendingError says whether err is what became of a connection while it was
// queued. It says nothing about the listener, or about the connection behind it:
// accept(2) advises to try again.
func isPendingError(err error) bool {
	switch err {
	case unix.ECONNABORTED, unix.EPROTO, unix.ENOPROTOOPT, unix.EOPNOTSUPP,
		unix.ENETDOWN, unix.ENETUNREACH, unix.ENONET, unix.EHOSTDOWN, unix.EHOSTUNREACH:
		return true
	}
	return false
}
