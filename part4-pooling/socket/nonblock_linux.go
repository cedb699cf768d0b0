package socket

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// On a non-blocking socket, read and write never sleep, so these functions do not
// tell Go's scheduler that a system call begins. Telling it lets other goroutines run
// meanwhile, and costs a server that mostly makes system calls a tenth of its time.
// On a blocking socket they would be wrong: the thread would sleep, and the garbage
// collector would wait for it.

// ReadNow is read(2) on a non-blocking socket. The error is a unix.Errno: EAGAIN if
// nothing has arrived. It does not retry after EINTR.
func ReadNow(fd uintptr, b []byte) (int, error) {
	return syscallResult(unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b))))
}

// WriteNow is write(2) on a non-blocking socket. The error is a unix.Errno: EAGAIN if
// the send buffer is full. It does not retry after EINTR.
func WriteNow(fd uintptr, b []byte) (int, error) {
	return syscallResult(unix.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b))))
}

func syscallResult(n, _ uintptr, errno unix.Errno) (int, error) {
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
