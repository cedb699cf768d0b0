package main

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A parked socket does not block a thread: when a call on it would have to
// wait, Go's poller (epoll or kqueue) takes its goroutine aside and wakes it
// when the kernel says that the socket is ready. Whoever waits costs a small
// stack, and no thread.
type parked struct {
	*os.File // owns the descriptor; Close lets calls in progress fail first
	fd       int
	raw      syscall.RawConn // the poller, for calls that os.File does not have
}

// park hands fd over to the poller, which owns it from now on: with an error it
// is closed.
func park(fd int) (parked, error) {
	if err := unix.SetNonblock(fd, true); err != nil { // os.NewFile looks at this, and only once
		unix.Close(fd)
		return parked{}, err
	}
	f := os.NewFile(uintptr(fd), "socket")
	raw, err := f.SyscallConn() // fails for no file that is open
	return parked{f, fd, raw}, err
}

// longAgo as a deadline wakes whoever waits.
var longAgo = time.Unix(1, 0)

// kick makes the reader of the socket fail with os.ErrDeadlineExceeded, now and
// until calm is called.
func (p parked) kick() { p.SetReadDeadline(longAgo) }

// calm lets reads wait again, after kick.
func (p parked) calm() { p.SetReadDeadline(time.Time{}) }

// timedOut says whether err comes from kick, or from a deadline.
func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
