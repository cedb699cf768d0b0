//go:build !linux

package main

import "syscall"

// noOrphan does nothing: this system cannot tie a child's end to ours.
func noOrphan() *syscall.SysProcAttr { return nil }
