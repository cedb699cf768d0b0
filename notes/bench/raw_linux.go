package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func raw(nr uintptr, fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(nr, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}
