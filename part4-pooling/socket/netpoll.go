package socket

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// An FD socket does not block a thread: when a call on it would have to
// wait, Go's poller (epoll or kqueue) takes its goroutine aside and wakes it
// when the kernel says that the socket is ready. Whoever waits costs a small
// stack, and no thread.
type FD struct {
	*os.File // owns the descriptor; Close lets calls in progress fail first
	Sysfd    int
	RawConn  syscall.RawConn // the poller, for calls that os.File does not have
}

// NewFD hands fd over to the poller, which owns it from now on: with an error it
// is closed.
func NewFD(fd int) (FD, error) {
	if err := unix.SetNonblock(fd, true); err != nil { // os.NewFile looks at this, and only once
		unix.Close(fd)
		return FD{}, err
	}
	f := os.NewFile(uintptr(fd), "socket")
	raw, err := f.SyscallConn() // fails for no file that is open
	return FD{f, fd, raw}, err
}

// LongAgo as a deadline wakes whoever waits.
var LongAgo = time.Unix(1, 0)

// Wake makes the reader of the socket fail with os.ErrDeadlineExceeded, now and
// until Reset is called.
func (p FD) Wake() { p.SetReadDeadline(LongAgo) }

// ClearWake lets reads wait again, after Wake.
func (p FD) ClearWake() { p.SetReadDeadline(time.Time{}) }

// IsTimeout says whether err comes from Wake, or from a deadline.
func IsTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
