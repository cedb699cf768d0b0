//go:build !linux

package main

import "golang.org/x/sys/unix"

// readNow is read(2) on a socket that does not block.
func readNow(fd uintptr, b []byte) (int, error) { return unix.Read(int(fd), b) }

// writeNow is write(2) on a socket that does not block.
func writeNow(fd uintptr, b []byte) (int, error) { return unix.Write(int(fd), b) }
