package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A poller is kqueue(2), which does here what epoll does on Linux
// (poller_linux.go says what that is). It tells of reading and writing apart.
type poller struct {
	parked
	events [128]unix.Kevent_t
	n      int                // events, after wait
	slept  bool               // wait had to wait
	waitFn func(uintptr) bool // made once: a method value is an allocation
	peekFn func(uintptr) bool
}

// News are what is new about a socket; that it can be read or written may
// always be the case.
type news struct {
	fd     int
	ended  bool // the other side will send no more: there is an end to be read
	broken bool // a reset, or both sides have ended
}

func newPoller() (*poller, error) {
	fd, err := unix.Kqueue()
	if err != nil {
		return nil, fmt.Errorf("kqueue: %w", err)
	}
	unix.CloseOnExec(fd)
	p := &poller{}
	p.waitFn = p.look
	p.peekFn = func(fd uintptr) bool { p.look(fd); return true }
	p.parked, err = park(fd)
	return p, err
}

func (p *poller) add(fd int) error {
	var both [2]unix.Kevent_t
	unix.SetKevent(&both[0], fd, unix.EVFILT_READ, unix.EV_ADD|unix.EV_CLEAR)
	unix.SetKevent(&both[1], fd, unix.EVFILT_WRITE, unix.EV_ADD|unix.EV_CLEAR)
	_, err := unix.Kevent(p.fd, both[:], nil, nil)
	return os.NewSyscallError("kevent", err)
}

// again adds fd anew: kqueue then looks at it as if for the first time.
func (p *poller) again(fd int) { p.add(fd) }

func (p *poller) wait(idle bool) (n int, err error) {
	find := p.waitFn
	if !idle {
		find = p.peekFn
	}
	p.n, p.slept = 0, false
	err = p.raw.Read(find)
	p.slept = p.slept && idle
	return p.n, err
}

func (p *poller) look(fd uintptr) bool {
	n, err := unix.Kevent(int(fd), nil, p.events[:], &unix.Timespec{})
	if p.n = n; err != nil {
		p.n = 0
		return err == unix.EINTR
	}
	p.slept = p.slept || n == 0
	return n != 0
}

func (p *poller) at(i int) news {
	e := &p.events[i]
	ended := e.Flags&unix.EV_EOF != 0
	return news{int(e.Ident), ended && e.Filter == unix.EVFILT_READ, ended && e.Fflags != 0}
}
