package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// A listener is a listening socket of any process in this network namespace, with
// its accept queue, as `ss -ltn` shows it.
type listener struct {
	addr netip.AddrPort
	acceptQueue
	uid   int
	inode int // as in /proc/PID/fd of the processes that hold the socket
}

// dialAddr returns the address to connect to: the loopback for a listener on all
// addresses.
func (l listener) dialAddr() netip.AddrPort {
	switch {
	case l.addr.Addr() == netip.IPv4Unspecified():
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), l.addr.Port())
	case l.addr.Addr() == netip.IPv6Unspecified():
		return netip.AddrPortFrom(netip.IPv6Loopback(), l.addr.Port())
	}
	return l.addr
}

// listeners returns all TCP listeners of this network namespace, from sock_diag(7),
// which requires no privilege.
func listeners() (all []listener, err error) {
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		some, err := listenersOf(family)
		if err != nil {
			return nil, fmt.Errorf("sock_diag: %w", err)
		}
		all = append(all, some...)
	}
	return all, nil
}

func listenersOf(family byte) (found []listener, err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	const sockDiagByFamily = 20
	ask := make([]byte, 72) // struct nlmsghdr, 16 bytes, then struct inet_diag_req_v2
	binary.NativeEndian.PutUint32(ask[0:], uint32(len(ask)))
	binary.NativeEndian.PutUint16(ask[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint16(ask[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	ask[16], ask[17] = family, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(ask[20:], 1<<tcpListen)
	if err := unix.Sendto(fd, ask, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	for buf := make([]byte, 64<<10); ; {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err == unix.EINTR {
			continue
		} else if err != nil {
			return nil, err
		}
		for rest := buf[:n]; len(rest) >= 16; {
			length, kind := int(binary.NativeEndian.Uint32(rest)), binary.NativeEndian.Uint16(rest[4:])
			switch {
			case kind == unix.NLMSG_DONE:
				return found, nil
			case kind == unix.NLMSG_ERROR && len(rest) >= 20:
				return nil, unix.Errno(-int32(binary.NativeEndian.Uint32(rest[16:])))
			case kind == sockDiagByFamily && length >= 16+72 && length <= len(rest):
				found = append(found, parseListener(rest[16:length]))
			}
			rest = rest[min(len(rest), max(16, (length+3)&^3)):]
		}
	}
}

// parseListener parses a struct inet_diag_msg (linux/inet_diag.h).
func parseListener(m []byte) listener {
	address, _ := netip.AddrFromSlice(m[8:24])
	if m[0] == unix.AF_INET {
		address = netip.AddrFrom4([4]byte(m[8:12]))
	}
	number := func(at int) int { return int(binary.NativeEndian.Uint32(m[at:])) }
	return listener{
		addr:        netip.AddrPortFrom(address, binary.BigEndian.Uint16(m[4:])),
		acceptQueue: acceptQueue{Waiting: number(56), Limit: number(60)},
		uid:         number(64),
		inode:       number(68),
	}
}

// listenerOfProcess returns the listener with the lowest port among those that pid
// holds.
func listenerOfProcess(pid int) (listener, error) {
	held, err := socketInodes(pid)
	if errors.Is(err, os.ErrNotExist) {
		return listener{}, fmt.Errorf("there is no process %d", pid)
	} else if err != nil {
		return listener{}, fmt.Errorf("process %d is not yours: run this as its owner or as root", pid)
	}
	found, err := heldListeners(held, 0)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("process %d listens on no TCP port of this network namespace (a container has one of its own)", pid)
	}
	if err != nil {
		return listener{}, err
	}
	return found[0], nil
}

// listenerOnPort returns a listener on port. The error says so if this user may not see
// which processes hold it.
func listenerOnPort(port int) (listener, error) {
	all, err := listeners()
	if err != nil {
		return listener{}, err
	}
	for _, l := range all {
		if int(l.addr.Port()) == port {
			if len(socketHolders(map[int]bool{l.inode: true})) == 0 {
				return l, fmt.Errorf("port %d belongs to user %d: run this as that user or as root", port, l.uid)
			}
			return l, nil
		}
	}
	return listener{}, fmt.Errorf("no process listens on TCP port %d", port)
}

// heldListeners returns the listeners whose inodes are in held, lowest port first; if
// port is not 0, only those on port.
func heldListeners(held map[int]bool, port int) (found []listener, err error) {
	all, err := listeners()
	for _, l := range all {
		if held[l.inode] && (port == 0 || int(l.addr.Port()) == port) {
			found = append(found, l)
		}
	}
	slices.SortStableFunc(found, func(a, b listener) int { return int(a.addr.Port()) - int(b.addr.Port()) })
	return found, err
}
