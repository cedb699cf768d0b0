//go:build !linux

package client

import "syscall"

// KillWithParent does nothing: this system cannot tie a child's end to ours.
func KillWithParent() *syscall.SysProcAttr { return nil }
