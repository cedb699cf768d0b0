package socket

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A listening socket can outlive the process that serves it. Another process opens it,
// keeps it open, and starts the servers with it as one of their descriptors, as systemd
// does for socket activation. While no server runs, clients connect and wait in its
// accept queue. A second socket with SO_REUSEPORT would have a queue of its own, which is
// reset when that socket is closed.

const inheritPrefix = "fd:" // of an address such as fd:3

// IsInherited reports whether addr names a listening socket that this process was
// started with.
func IsInherited(addr string) bool { return strings.HasPrefix(addr, inheritPrefix) }

// inherit returns the listening socket that addr, such as fd:3, names. The caller owns
// the descriptor. The accept queue and its backlog belong to all processes that hold the
// socket, so inherit changes neither.
func inherit(addr string) (int, error) {
	number, err := strconv.ParseUint(strings.TrimPrefix(addr, inheritPrefix), 10, 31)
	if err != nil {
		return -1, fmt.Errorf("bad address %q: want the number of a descriptor, such as fd:3", addr)
	}
	fd := int(number)
	listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	switch {
	case err != nil:
		return -1, fmt.Errorf("cannot listen on %s: %w; start this process with a listening socket as that descriptor", addr, err)
	case listens == 0 || !LocalAddr(fd).IsValid():
		return -1, fmt.Errorf("cannot listen on %s: it is not a listening TCP socket", addr)
	}
	unix.CloseOnExec(fd)
	return fd, nil
}
