package main

import (
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// pollInterval is the longest that a call on a socket may sleep (SO_RCVTIMEO). It then
// fails with EAGAIN, and the loop around it looks at its deadline and whether
// the server should stop.
const pollInterval = 20 * time.Millisecond

var pollTimeval = unix.NsecToTimeval(int64(pollInterval))

// listen opens a TCP socket on addr, an IP address and a port such as
// 127.0.0.1:8080 or [::1]:0, where up to backlog connections may queue. The
// caller owns the descriptor. socket(2), bind(2), listen(2), socket(7), tcp(7).
func listen(addr string, backlog int) (int, error) {
	sa, family, err := parseSockaddr(addr)
	if err != nil {
		return -1, err
	}
	fd, err := newSocket(family)
	if err != nil {
		return -1, fmt.Errorf("socket for %s: %w", addr, err)
	}
	// Without SO_REUSEADDR a restarted server waits a minute for its own old
	// connections to leave TIME_WAIT. Accepted sockets inherit the tick on Linux.
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &pollTimeval)
	if err = unix.Bind(fd, sa); err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("cannot listen on %s: %w%s", addr, err, bindHints[err])
	}
	return fd, nil
}

// bindHints says what to do about the errors of bind(2) that people meet.
var bindHints = map[error]string{
	unix.EADDRINUSE:    "; stop the program that has the port (ss -ltnp names it) or choose another with -addr",
	unix.EACCES:        "; ports below 1024 belong to root: choose a higher one with -addr",
	unix.EADDRNOTAVAIL: "; no interface of this machine has that address: try 127.0.0.1",
}

// parseSockaddr turns "127.0.0.1:8080" or "[::1]:8080" into what bind(2) and
// connect(2) take. Names are not looked up: a resolver is another story.
func parseSockaddr(addr string) (sa unix.Sockaddr, family int, err error) {
	ap, err := netip.ParseAddrPort(addr)
	switch ip := ap.Addr(); {
	case err != nil || ip.Zone() != "":
		return nil, 0, fmt.Errorf("bad address %q: want an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080", addr)
	case ip.Is4():
		return &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ip.As4()}, unix.AF_INET, nil
	default:
		return &unix.SockaddrInet6{Port: int(ap.Port()), Addr: ip.As16()}, unix.AF_INET6, nil
	}
}

// addrPort is sockaddr backwards, for what accept(2) and getsockname(2) tell. A
// listener on [::] takes IPv4 clients too and calls them ::ffff:192.0.2.1 (RFC 4291
// §2.5.5.2); addrPort writes the address that they know themselves by.
func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// localAddr is where fd is bound to; it knows the port that the kernel picked.
func localAddr(fd int) netip.AddrPort {
	sa, _ := unix.Getsockname(fd)
	return addrPort(sa)
}
