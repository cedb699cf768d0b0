package server

import (
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"socketup/part4-pooling/socket"
)

// A strand is a connection with a goroutine of its own, which reads from it and
// waits in Go's poller (park.go). Who handles its requests is said in serial.go and
// in goroutines.go.
type strand struct {
	transport
	socket socket.Parked
	lock   sync.Mutex
	own    stock
	all    *strands
	parks  bool // its goroutine is in await: woken kicks it
}

// strands are the connections of such a driver.
type strands struct {
	srv    *Server
	serve  func(*strand) // the requests of a connection, until there will be none
	serial bool          // it handles all of them on the connection's own goroutine
	mu     sync.Mutex
	open   map[*strand]bool // guarded by mu
	done   chan struct{}
}

func newStrands(s *Server, serial bool, serve func(*strand)) []driver {
	return []driver{&strands{srv: s, serve: serve, serial: serial, open: map[*strand]bool{}, done: make(chan struct{})}}
}

func (d *strands) run()      { <-d.done }
func (d *strands) shutdown() { close(d.done) }
func (d *strands) discard()  {}

// add starts the goroutine of fd's connection.
func (d *strands) add(fd int, peer netip.Addr) error {
	p, err := socket.Park(fd)
	if err != nil {
		return err
	}
	s := &strand{socket: p, all: d}
	s.init(d.srv, s, &s.lock, &s.own, fd, peer)
	d.mu.Lock()
	d.open[s] = true
	d.mu.Unlock()
	go s.live() // until the connection has ended
	return nil
}

// each holds the lock of a connection only.
func (d *strands) each(f func(*transport)) {
	d.mu.Lock()
	all := make([]*strand, 0, len(d.open))
	for s := range d.open {
		all = append(all, s)
	}
	d.mu.Unlock()
	for _, s := range all {
		s.lock.Lock()
		if s.end != closed {
			f(&s.transport)
		}
		s.lock.Unlock()
	}
}

// live is the goroutine of a connection. It serves the requests, and then reads
// what nobody wants until the client closes.
func (s *strand) live() {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.all.serve(s)
	s.act()
	for s.end == open {
		s.changed.Wait() // handlers are at work, or the client takes its time to read
	}
	s.linger()
}

// request waits for the next request. It returns nil when there will be none.
func (s *strand) request() *exchange {
	for s.end == open && s.intake != over && s.intake != lost {
		if s.turn == owed {
			s.do(s.turnBegins())
		}
		if s.turn == looking {
			if x := s.take(); x != nil {
				return x
			}
			s.pause()
			s.act()
			continue
		}
		if s.intake == stalled { // finish makes room, and that is a turn
			s.changed.Wait()
			continue
		}
		s.await(&s.transport)
	}
	return nil
}

// await waits in Go's poller until a read has told the connection something, or
// woken was called. The read is done with the lock held; the wait is not.
func (s *strand) await(*transport) {
	s.parks = true
	s.lock.Unlock()
	err := s.socket.Raw.Read(func(uintptr) bool {
		s.lock.Lock()
		defer s.lock.Unlock()
		return s.reads()
	})
	s.lock.Lock()
	s.parks = false
	if socket.TimedOut(err) {
		s.socket.Reset()
	}
}

// reads tells the connection what has arrived, and returns false if that is nothing.
func (s *strand) reads() bool {
	switch {
	case s.end == lingering:
		before := s.lingers
		s.discard()
		return s.end != lingering || s.lingers != before
	case s.end != open || s.intake == over || s.intake == lost || s.turn == owed || s.intake == stalled:
		return true
	case s.intake == alone: // a handler, in fill
		return s.read()
	}
	found := s.read()
	if found {
		s.turn.to(looking)
	} else {
		s.in.giveBack()
	}
	return found
}

// linger discards what arrives until the connection has ended.
func (s *strand) linger() {
	for s.act(); s.end == lingering; s.act() {
		s.await(&s.transport)
	}
}

func (s *strand) again(*transport) {} // request and linger read until there is nothing

// woken ends await, if what has changed matters there: the connection's goroutine
// waits for a turn, for the rest of a body, or for the end.
func (s *strand) woken(*transport) {
	if s.parks && (s.intake != taking || s.end != open || s.turn == owed) {
		s.socket.Wake()
	}
}

func (s *strand) owe(*transport) {
	s.changed.Broadcast()
	s.woken(nil)
}

// blocked has a goroutine wait until the client has read something.
func (s *strand) blocked(*transport) {
	go func() { // until there is room, or the connection is closed
		s.socket.Raw.Write(func(fd uintptr) bool {
			ask := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
			n, _ := unix.Poll(ask, 0)
			return n > 0
		})
		s.lock.Lock()
		defer s.lock.Unlock()
		s.out.hasRoom()
		s.act()
	}()
}

// finned reads on for a goroutine that is with a handler that does not return.
func (s *strand) finned(*transport) {
	if s.intake == lost {
		go func() { // until the client closes
			s.lock.Lock()
			defer s.lock.Unlock()
			s.linger()
		}()
	}
}

// exited is for a handler that took its goroutine with it. If that was the
// connection's own, another one goes on.
func (s *strand) exited(_ *transport, alone bool, _ uint64) {
	if alone || s.all.serial {
		go s.live()
	}
}

// close closes the socket, on a goroutine that does not hold the lock: Close waits
// for those who wait in it.
func (s *strand) close(*transport) {
	go func() {
		s.socket.Close()
		s.all.mu.Lock()
		delete(s.all.open, s)
		s.all.mu.Unlock()
		s.all.srv.closed()
	}()
}
