//go:build !linux

package socket

import "golang.org/x/sys/unix"

// ReadNow is read(2) on a non-blocking socket. The error is a unix.Errno: EAGAIN if
// nothing has arrived. It does not retry after EINTR.
func ReadNow(fd uintptr, b []byte) (int, error) { return unix.Read(int(fd), b) }

// WriteNow is write(2) on a non-blocking socket. The error is a unix.Errno: EAGAIN if
// the send buffer is full. It does not retry after EINTR.
func WriteNow(fd uintptr, b []byte) (int, error) { return unix.Write(int(fd), b) }
