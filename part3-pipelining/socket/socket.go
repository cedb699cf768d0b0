package socket

import (
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// PollInterval is the longest that a blocking accept(2) or read(2) sleeps (SO_RCVTIMEO,
// socket(7)). The call then fails with EAGAIN, and its caller can check whether to call
// again. In part 4, package client checks a context as often.
const PollInterval = 20 * time.Millisecond

var pollTimeval = unix.NsecToTimeval(int64(PollInterval))

// Listen opens a TCP socket that listens on addr, an IP address and a port such as
// 127.0.0.1:8080 or [::1]:0, and asks for an accept queue of backlog connections.
// For fd:3 it returns descriptor 3, which listens already (inherit.go). The caller
// owns the descriptor. See socket(2), bind(2), listen(2), tcp(7).
func Listen(addr string, backlog int) (int, error) {
	if IsInherited(addr) {
		return inherit(addr)
	}
	sa, family, err := ParseSockaddr(addr)
	if err != nil {
		return -1, err
	}
	fd, err := NewSocket(family)
	if err != nil {
		return -1, fmt.Errorf("socket for %s: %w", addr, err)
	}
	// Without SO_REUSEADDR, bind fails for a minute after a restart, until the old
	// server's connections have left TIME_WAIT. On Linux, accepted sockets inherit
	// SO_RCVTIMEO.
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

// bindHints says what to do about the common errors of bind(2).
var bindHints = map[error]string{
	unix.EADDRINUSE:    "; stop the program that has the port (ss -ltnp names it) or choose another with -addr",
	unix.EACCES:        "; ports below 1024 belong to root: choose a higher one with -addr",
	unix.EADDRNOTAVAIL: "; no interface of this machine has that address: try 127.0.0.1",
}

// ParseSockaddr turns "127.0.0.1:8080" or "[::1]:8080" into the socket address and
// the family that socket(2), bind(2) and connect(2) take. A host name or a zone is
// an error: nothing here looks up names.
func ParseSockaddr(addr string) (sa unix.Sockaddr, family int, err error) {
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

// AddrPort is the inverse of ParseSockaddr, for the addresses that accept(2) and
// getsockname(2) return. A socket that listens on [::] also accepts IPv4 clients, and
// the kernel reports them as ::ffff:192.0.2.1 (RFC 4291 §2.5.5.2); AddrPort returns
// the plain IPv4 address. For other families it returns the zero AddrPort.
func AddrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// LocalAddr returns the address to which the socket fd is bound, with the port that
// the kernel picked if port 0 was asked for. See getsockname(2).
func LocalAddr(fd int) netip.AddrPort {
	sa, _ := unix.Getsockname(fd)
	return AddrPort(sa)
}
