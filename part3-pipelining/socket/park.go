package socket

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Parked socket does not block a thread: when a call on it would have to
// wait, Go's poller (epoll or kqueue) takes its goroutine aside and wakes it
// when the kernel says that the socket is ready. Whoever waits costs a small
// stack, and no thread.
type Parked struct {
	*os.File // owns the descriptor; Close lets calls in progress fail first
	Fd       int
	Raw      syscall.RawConn // the poller, for calls that os.File does not have
}

// Park hands fd over to the poller, which owns it from now on: with an error it
// is closed.
func Park(fd int) (Parked, error) {
	if err := unix.SetNonblock(fd, true); err != nil { // os.NewFile looks at this, and only once
		unix.Close(fd)
		return Parked{}, err
	}
	f := os.NewFile(uintptr(fd), "socket")
	raw, err := f.SyscallConn() // fails for no file that is open
	return Parked{f, fd, raw}, err
}

// LongAgo as a deadline wakes whoever waits.
var LongAgo = time.Unix(1, 0)

// Wake makes the reader of the socket fail with os.ErrDeadlineExceeded, now and
// until Reset is called.
func (p Parked) Wake() { p.SetReadDeadline(LongAgo) }

// Reset lets reads wait again, after Wake.
func (p Parked) Reset() { p.SetReadDeadline(time.Time{}) }

// TimedOut says whether err comes from Wake, or from a deadline.
func TimedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
