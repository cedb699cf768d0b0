package server

import (
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"socketup/part4-pooling/socket"
)

// A blockingConn is a connection with a goroutine of its own, which reads from the
// socket and waits in Go's poller (socket/netpoll.go). serial.go and goroutines.go say
// which goroutine calls the handlers.
type blockingConn struct {
	transport
	socket   socket.FD
	lock     sync.Mutex
	cache    exchangeCache
	parent   *blockingDriver
	awaiting bool // its goroutine is in awaitInput; wakeReader interrupts it
}

// A blockingDriver owns blockingConns. It is the serial driver or the goroutines driver.
type blockingDriver struct {
	srv    *Server
	serve  func(*blockingConn) // serves a connection's requests; returns when there will be no more
	serial bool                // serve calls every handler on the connection's own goroutine
	mu     sync.Mutex
	open   map[*blockingConn]bool // guarded by mu
	done   chan struct{}
}

func newBlockingDriver(s *Server, serial bool, serve func(*blockingConn)) []driver {
	return []driver{&blockingDriver{srv: s, serve: serve, serial: serial, open: map[*blockingConn]bool{}, done: make(chan struct{})}}
}

func (d *blockingDriver) run()         { <-d.done }
func (d *blockingDriver) stop()        { close(d.done) }
func (d *blockingDriver) closeUnused() {}

// add starts a goroutine that serves fd.
func (d *blockingDriver) add(fd int, peer netip.Addr) error {
	p, err := socket.NewFD(fd)
	if err != nil {
		return err
	}
	s := &blockingConn{socket: p, parent: d}
	s.init(d.srv, s, &s.lock, &s.cache, fd, peer)
	d.mu.Lock()
	d.open[s] = true
	d.mu.Unlock()
	go s.serveConn() // ends when the connection does
	return nil
}

// forEach holds one connection's lock at a time, and not mu.
func (d *blockingDriver) forEach(f func(*transport)) {
	d.mu.Lock()
	all := make([]*blockingConn, 0, len(d.open))
	for s := range d.open {
		all = append(all, s)
	}
	d.mu.Unlock()
	for _, s := range all {
		s.lock.Lock()
		if s.closeState != closed {
			f(&s.transport)
		}
		s.lock.Unlock()
	}
}

// serveConn is the goroutine of a connection. It serves the requests, then discards
// input until the client closes.
func (s *blockingConn) serveConn() {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.parent.serve(s)
	s.runActions()
	for s.closeState == open {
		s.changed.Wait() // handlers still run, or the client has not read its responses
	}
	s.linger()
}

// nextRequest waits for the next request. It returns nil when there will be no more.
func (s *blockingConn) nextRequest() *exchange {
	for s.closeState == open && s.inputState != inputClosed && s.inputState != stuck {
		if s.turn == turnQueued {
			s.react(s.onTurn())
		}
		if s.turn == turnActive {
			if x := s.takeRequest(); x != nil {
				return x
			}
			s.endTurn()
			s.runActions()
			continue
		}
		if s.inputState == stalled { // complete makes room, and queues a turn
			s.changed.Wait()
			continue
		}
		s.awaitInput(&s.transport)
	}
	return nil
}

// awaitInput waits in Go's poller until a read changed the connection's state, or
// wakeReader interrupts it. It reads with the lock held, and waits without it.
func (s *blockingConn) awaitInput(*transport) {
	s.awaiting = true
	s.lock.Unlock()
	err := s.socket.RawConn.Read(func(uintptr) bool {
		s.lock.Lock()
		defer s.lock.Unlock()
		return s.pollInput()
	})
	s.lock.Lock()
	s.awaiting = false
	if socket.IsTimeout(err) {
		s.socket.ClearWake()
	}
}

// pollInput reads what has arrived. It returns false if awaitInput should wait on.
func (s *blockingConn) pollInput() bool {
	switch {
	case s.closeState == lingering:
		before := s.lingerBudget
		s.discard()
		return s.closeState != lingering || s.lingerBudget != before
	case s.closeState != open || s.inputState == inputClosed || s.inputState == stuck || s.turn == turnQueued || s.inputState == stalled:
		return true
	case s.inputState == exclusive: // a handler waits in readMoreBody
		return s.read()
	}
	found := s.read()
	if found {
		s.turn.moveTo(turnActive)
	} else {
		s.input.releaseIfEmpty()
	}
	return found
}

// linger discards input until the connection is closed.
func (s *blockingConn) linger() {
	for s.runActions(); s.closeState == lingering; s.runActions() {
		s.awaitInput(&s.transport)
	}
}

func (s *blockingConn) rearm(*transport) {} // nextRequest and linger read until EAGAIN

// wakeReader interrupts awaitInput if the change matters to it: a turn is queued, input
// is not being parsed, or the connection is closing.
func (s *blockingConn) wakeReader(*transport) {
	if s.awaiting && (s.inputState != parsing || s.closeState != open || s.turn == turnQueued) {
		s.socket.Wake()
	}
}

func (s *blockingConn) queueTurn(*transport) {
	s.changed.Broadcast()
	s.wakeReader(nil)
}

// awaitWritable starts a goroutine that waits until the send buffer has room.
func (s *blockingConn) awaitWritable(*transport) {
	go func() { // ends when there is room, or the connection is closed
		s.socket.RawConn.Write(func(fd uintptr) bool {
			ask := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
			n, _ := unix.Poll(ask, 0)
			return n > 0
		})
		s.lock.Lock()
		defer s.lock.Unlock()
		s.output.onWritable()
		s.runActions()
	}()
}

// discardInput reads in place of a connection's goroutine that is stuck in a handler.
func (s *blockingConn) discardInput(*transport) {
	if s.inputState == stuck {
		go func() { // ends when the client closes
			s.lock.Lock()
			defer s.lock.Unlock()
			s.linger()
		}()
	}
}

// handlerExited replaces the connection's goroutine if the handler ended it with
// runtime.Goexit.
func (s *blockingConn) handlerExited(_ *transport, wasExclusive bool, _ uint64) {
	if wasExclusive || s.parent.serial {
		go s.serveConn()
	}
}

// closeSocket closes the socket on a goroutine that does not hold the lock: Close waits
// for goroutines that are inside RawConn.Read or RawConn.Write, and those need the lock.
func (s *blockingConn) closeSocket(*transport) {
	go func() {
		s.socket.Close()
		s.parent.mu.Lock()
		delete(s.parent.open, s)
		s.parent.mu.Unlock()
		s.parent.srv.connClosed()
	}()
}
