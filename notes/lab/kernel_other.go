//go:build !linux

package lab

import (
	"net/netip"
	"syscall"
)

// killWithParent has no equivalent here: a child outlives a parent that is killed.
func killWithParent() *syscall.SysProcAttr { return nil }

// retransmits is not known here.
func retransmits(int) int { return 0 }

// queueLength is not known here.
func queueLength(netip.AddrPort) (n int, ok bool) { return 0, false }
