package main

import (
	"net"

	"golang.org/x/sys/unix"
)

const finWait1 = 4 // TCP_FIN_WAIT1 of include/net/tcp_states.h: the FIN is not acknowledged

// finArrived reports whether the peer's kernel has the FIN that c has sent. On a busy
// machine it takes its time, on loopback too.
func finArrived(c *net.TCPConn) bool {
	arrived := true
	if raw, err := c.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
			arrived = err != nil || info.State != finWait1
		})
	}
	return arrived
}
