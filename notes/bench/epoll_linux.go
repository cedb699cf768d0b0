package main

import (
	"net/netip"
	"runtime"

	"golang.org/x/sys/unix"
)

// A poll is an epoll instance on a thread of its own. Its calls do not tell
// Go's scheduler: nothing else is to run here.
type poll struct {
	fd     int
	events [256]unix.EpollEvent
}

func newPoll() (*poll, error) {
	runtime.LockOSThread()
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	return &poll{fd: fd}, err
}

func (p *poll) add(fd int, events uint32) error {
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// wait returns what is ready, after timeout milliseconds at the latest.
func (p *poll) wait(timeout int) []unix.EpollEvent {
	n, err := unix.EpollWait(p.fd, p.events[:], timeout)
	if err != nil {
		return nil // EINTR: the Go runtime sends itself signals
	}
	return p.events[:n]
}

func sockaddr(addr string) (unix.Sockaddr, error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	return &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}, nil
}

// rawRead and rawWrite never wait, so the scheduler need not know of them.
func rawRead(fd int, b []byte) (int, unix.Errno)  { return raw(unix.SYS_READ, fd, b) }
func rawWrite(fd int, b []byte) (int, unix.Errno) { return raw(unix.SYS_WRITE, fd, b) }
