package main

import (
	"io/fs"
	"syscall"
	"time"
)

// fileIdentity returns what distinguishes a file from every other, and from its
// own earlier contents: fstat(2). The kernel sets the ctime on each change; no
// program can set it.
func fileIdentity(info fs.FileInfo) (device, inode uint64, changed time.Time) {
	s := info.Sys().(*syscall.Stat_t)
	return uint64(s.Dev), s.Ino, time.Unix(s.Ctimespec.Unix())
}
