package socket

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// read and write of a socket that is non-blocking return at once, so these do
// not tell Go's scheduler that a system call begins: it would make ready to run
// other goroutines meanwhile, and a server that lives in system calls pays for
// that with a tenth of its time. On a socket that blocks it would be a mistake:
// the thread would sleep, and the garbage collector wait for it.

// ReadNow is read(2) on a socket that does not block.
func ReadNow(fd uintptr, b []byte) (int, error) {
	return syscallResult(unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b))))
}

// WriteNow is write(2) on a socket that does not block.
func WriteNow(fd uintptr, b []byte) (int, error) {
	return syscallResult(unix.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b))))
}

func syscallResult(n, _ uintptr, errno unix.Errno) (int, error) {
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
