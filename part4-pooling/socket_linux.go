package main

import "golang.org/x/sys/unix"

// newSocket opens a TCP socket that no child process inherits.
func newSocket(family int) (int, error) {
	return unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
}

// accept takes the oldest connection out of fd's accept queue. Without
// SOCK_CLOEXEC a child process would keep the connection open behind our back.
func accept(fd int) (int, unix.Sockaddr, error) {
	return unix.Accept4(fd, unix.SOCK_CLOEXEC)
}
