//go:build !linux

package client

import "syscall"

// NoOrphan does nothing: this system cannot tie a child's end to ours.
func NoOrphan() *syscall.SysProcAttr { return nil }
