//go:build !linux

package socket

import "golang.org/x/sys/unix"

// ReadNow is read(2) on a socket that does not block.
func ReadNow(fd uintptr, b []byte) (int, error) { return unix.Read(int(fd), b) }

// WriteNow is write(2) on a socket that does not block.
func WriteNow(fd uintptr, b []byte) (int, error) { return unix.Write(int(fd), b) }
