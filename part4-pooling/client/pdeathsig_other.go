//go:build !linux

package client

import "syscall"

// KillWithParent returns nil: this system cannot tie a child's life to its
// parent's.
func KillWithParent() *syscall.SysProcAttr { return nil }
