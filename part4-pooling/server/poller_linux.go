package server

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"socketup/part4-pooling/socket"
)

// A poller is an epoll(7) instance: the kernel's list of the sockets that have
// news. It is edge-triggered, which means that news are told once: whoever does
// not read all that has come must ask for them again.
//
// Its descriptor is parked in Go's own poller, so a goroutine that waits here
// is set aside like any other, and no thread sleeps.
type poller struct {
	socket.Parked
	events [128]unix.EpollEvent
	n      int                // events, after wait
	slept  bool               // wait had to wait
	waitFn func(uintptr) bool // made once: a method value is an allocation
	peekFn func(uintptr) bool
}

// News are what is new about a socket; that it can be read or written may
// always be the case. epoll watches open files, not numbers: as long as a child
// process has a file open, its news come under its old number, which may be that of
// another socket by now. They are hints.
type news struct {
	fd     int
	ended  bool // the other side will send no more: there is an end to be read
	broken bool // a reset, or both sides have ended
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	p := &poller{}
	p.waitFn = p.look
	p.peekFn = func(fd uintptr) bool { p.look(fd); return true }
	p.Parked, err = socket.Park(fd)
	return p, err
}

// add begins to watch fd. The first news are what is so already.
func (p *poller) add(fd int) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.Fd, unix.EPOLL_CTL_ADD, fd, watch(fd)))
}

// again makes the poller tell the news of fd once more. It can be called by
// anyone who knows that fd is open.
func (p *poller) again(fd int) { unix.EpollCtl(p.Fd, unix.EPOLL_CTL_MOD, fd, watch(fd)) }

func watch(fd int) *unix.EpollEvent {
	return &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(fd)}
}

// wait returns how many news there are. If there are none it waits for some, if
// idle says that the caller has nothing else to do. It fails with a timeout when
// somebody kicks the poller, and for ever when it is closed; then there are none.
func (p *poller) wait(idle bool) (n int, err error) {
	find := p.waitFn
	if !idle {
		find = p.peekFn
	}
	p.n, p.slept = 0, false
	err = p.Raw.Read(find)
	p.slept = p.slept && idle
	return p.n, err
}

// look is epoll_wait with a timeout of 0: it never blocks (nowait_linux.go).
func (p *poller) look(fd uintptr) bool {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, fd, uintptr(unsafe.Pointer(&p.events)), uintptr(len(p.events)), 0, 0, 0)
	if p.n = int(n); errno != 0 {
		p.n = 0 // EINTR: Go's runtime sends signals to its own threads
		return errno == unix.EINTR
	}
	p.slept = p.slept || n == 0
	return n != 0
}

// at is number i of the news.
func (p *poller) at(i int) news {
	e := &p.events[i]
	return news{int(e.Fd), e.Events&unix.EPOLLRDHUP != 0, e.Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0}
}
