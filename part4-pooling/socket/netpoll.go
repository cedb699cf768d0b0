package socket

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// An FD is a socket registered with Go's network poller (epoll or kqueue). A call
// that would block suspends its goroutine until the kernel reports the socket ready,
// and blocks no thread: a waiting connection costs only a goroutine's stack.
//
// The File owns the descriptor. Close makes calls in progress fail with
// os.ErrClosed, then closes the descriptor once the last of them has returned.
type FD struct {
	*os.File
	Sysfd   int             // the descriptor; valid until Close
	RawConn syscall.RawConn // waits in the poller around system calls that os.File lacks
}

// NewFD makes fd non-blocking and registers it with the poller. The FD owns fd from
// now on. If NewFD returns an error, fd is still the caller's.
func NewFD(fd int) (FD, error) {
	if err := unix.SetNonblock(fd, true); err != nil { // before os.NewFile: it checks the flag once, and only then uses the poller
		return FD{}, err
	}
	f := os.NewFile(uintptr(fd), "socket")
	raw, err := f.SyscallConn() // cannot fail on an open file
	return FD{f, fd, raw}, err
}

// LongAgo is a deadline in the past: setting it wakes every goroutine that waits.
var LongAgo = time.Unix(1, 0)

// Wake makes a read in progress, and every later one, fail with
// os.ErrDeadlineExceeded, until ClearWake. It replaces the read deadline.
func (f FD) Wake() { f.SetReadDeadline(LongAgo) }

// ClearWake undoes Wake: reads wait again, without a deadline.
func (f FD) ClearWake() { f.SetReadDeadline(time.Time{}) }

// IsTimeout reports whether err is from a deadline, which includes Wake.
func IsTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
