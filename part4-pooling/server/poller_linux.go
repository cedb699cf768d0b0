package server

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"socketup/part4-pooling/socket"
)

// A poller is an epoll(7) instance: the kernel's list of the sockets that have
// news. It is edge-triggered, which means that events are told once: whoever does
// not read all that has come must ask for them again.
//
// Its descriptor is parked in Go's own poller, so a goroutine that waits here
// is set aside like any other, and no thread sleeps.
type poller struct {
	socket.FD
	events    [128]unix.EpollEvent
	numEvents int                // events, after wait
	blocked   bool               // wait had to wait
	waitFn    func(uintptr) bool // made once: a method value is an allocation
	peekFn    func(uintptr) bool
}

// Events are what is new about a socket; that it can be read or written may
// always be the case. epoll watches open files, not numbers: as long as a child
// process has a file open, its news come under its old number, which may be that of
// another socket by now. They are hints.
type event struct {
	fd         int
	peerClosed bool // the other side will send no more: there is an end to be read
	hungUp     bool // a reset, or both sides have ended
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	p := &poller{}
	p.waitFn = p.tryWait
	p.peekFn = func(fd uintptr) bool { p.tryWait(fd); return true }
	p.FD, err = socket.NewFD(fd)
	return p, err
}

// add begins to watch fd. The first events are what is so already.
func (p *poller) add(fd int) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.Sysfd, unix.EPOLL_CTL_ADD, fd, interest(fd)))
}

// rearm makes the poller tell the events of fd once more. It can be called by
// anyone who knows that fd is open.
func (p *poller) rearm(fd int) { unix.EpollCtl(p.Sysfd, unix.EPOLL_CTL_MOD, fd, interest(fd)) }

func interest(fd int) *unix.EpollEvent {
	return &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(fd)}
}

// wait returns how many events there are. If there are none it waits for some, if
// idle says that the caller has nothing else to do. It fails with a timeout when
// somebody kicks the poller, and for ever when it is closed; then there are none.
func (p *poller) wait(idle bool) (n int, err error) {
	find := p.waitFn
	if !idle {
		find = p.peekFn
	}
	p.numEvents, p.blocked = 0, false
	err = p.RawConn.Read(find)
	p.blocked = p.blocked && idle
	return p.numEvents, err
}

// tryWait is epoll_wait with a timeout of 0: it never blocks (nonblock_linux.go).
func (p *poller) tryWait(fd uintptr) bool {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, fd, uintptr(unsafe.Pointer(&p.events)), uintptr(len(p.events)), 0, 0, 0)
	if p.numEvents = int(n); errno != 0 {
		p.numEvents = 0 // EINTR: Go's runtime sends signals to its own threads
		return errno == unix.EINTR
	}
	p.blocked = p.blocked || n == 0
	return n != 0
}

// event is number i of the events.
func (p *poller) event(i int) event {
	e := &p.events[i]
	return event{int(e.Fd), e.Events&unix.EPOLLRDHUP != 0, e.Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0}
}
