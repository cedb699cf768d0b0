package server

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"socketup/part3-pipelining/socket"
)

// A poller is an epoll(7) instance: the kernel's list of sockets that have events. It is
// edge-triggered: the kernel reports each event once, and a caller that does not read
// until EAGAIN must call rearm.
//
// The epoll descriptor is itself registered with Go's poller. A goroutine that waits
// here is parked like any other, and blocks no thread.
type poller struct {
	socket.FD
	events    [128]unix.EpollEvent
	numEvents int                // valid elements of events, set by wait
	blocked   bool               // the last wait found no event at first, and blocked
	waitFn    func(uintptr) bool // created once: a method value allocates
	peekFn    func(uintptr) bool
}

// An event says that the socket fd may be readable or writable, and what else is new. It
// is a hint: epoll watches open files, not descriptors. While a child process keeps a
// file open, its events arrive under the old descriptor number, which may be another
// socket's by now (epoll(7), "Questions and answers").
type event struct {
	fd         int
	peerClosed bool // EPOLLRDHUP: the client sent FIN
	hungUp     bool // EPOLLHUP or EPOLLERR: a reset, or both sides sent FIN
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	p := &poller{}
	p.waitFn = p.tryWait
	p.peekFn = func(fd uintptr) bool { p.tryWait(fd); return true }
	if p.FD, err = socket.NewFD(fd); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return p, nil
}

// add registers fd. The kernel reports its present state as the first event.
func (p *poller) add(fd int) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.Sysfd, unix.EPOLL_CTL_ADD, fd, interest(fd)))
}

// rearm makes the kernel report the present state of fd again. Any goroutine may call it
// while fd is open.
func (p *poller) rearm(fd int) { unix.EpollCtl(p.Sysfd, unix.EPOLL_CTL_MOD, fd, interest(fd)) }

func interest(fd int) *unix.EpollEvent {
	return &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(fd)}
}

// wait gets events and returns how many. If there are none and block is set, it waits for
// some. After Wake it fails with a timeout (socket.IsTimeout) until
// ClearWake; after Close it always fails. With an error there are no events.
func (p *poller) wait(block bool) (n int, err error) {
	find := p.waitFn
	if !block {
		find = p.peekFn
	}
	p.numEvents, p.blocked = 0, false
	err = p.RawConn.Read(find)
	p.blocked = p.blocked && block
	return p.numEvents, err
}

// tryWait is epoll_wait(2) with a timeout of 0. It never blocks, so it can be a
// RawSyscall (socket/nonblock_linux.go).
func (p *poller) tryWait(fd uintptr) bool {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, fd, uintptr(unsafe.Pointer(&p.events)), uintptr(len(p.events)), 0, 0, 0)
	if p.numEvents = int(n); errno != 0 {
		p.numEvents = 0 // EINTR: the Go runtime sends signals to its own threads
		return errno == unix.EINTR
	}
	p.blocked = p.blocked || n == 0
	return n != 0
}

// event returns event i of the last wait.
func (p *poller) event(i int) event {
	e := &p.events[i]
	return event{int(e.Fd), e.Events&unix.EPOLLRDHUP != 0, e.Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0}
}
