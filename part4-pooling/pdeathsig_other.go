//go:build !linux

package main

import "syscall"

// killWithParent returns nil: this system cannot tie a child's life to its
// parent's.
func killWithParent() *syscall.SysProcAttr { return nil }
