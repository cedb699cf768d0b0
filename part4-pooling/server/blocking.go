package server

import (
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"socketup/part4-pooling/socket"
)

// A blockingConn is a connection with a goroutine of its own, which reads from it and
// waits in Go's poller (netpoll.go). Who handles its requests is said in serial.go and
// in goroutines.go.
type blockingConn struct {
	transport
	socket   socket.FD
	lock     sync.Mutex
	cache    exchangeCache
	parent   *blockingDriver
	awaiting bool // its goroutine is in await: woken kicks it
}

// blockingDriver are the connections of such a driver.
type blockingDriver struct {
	srv    *Server
	serve  func(*blockingConn) // the requests of a connection, until there will be none
	serial bool                // it handles all of them on the connection's own goroutine
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

// add starts the goroutine of fd's connection.
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
	go s.serveConn() // until the connection has ended
	return nil
}

// forEach holds the lock of a connection only.
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

// serveConn is the goroutine of a connection. It serves the requests, and then reads
// what nobody wants until the client closes.
func (s *blockingConn) serveConn() {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.parent.serve(s)
	s.runActions()
	for s.closeState == open {
		s.changed.Wait() // handlers are at work, or the client takes its time to read
	}
	s.linger()
}

// nextRequest waits for the next request. It returns nil when there will be none.
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
		if s.inputState == stalled { // finish makes room, and that is a turn
			s.changed.Wait()
			continue
		}
		s.awaitInput(&s.transport)
	}
	return nil
}

// awaitInput waits in Go's poller until a read has told the connection something, or
// woken was called. The read is done with the lock held; the wait is not.
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

// pollInput tells the connection what has arrived, and returns false if that is nothing.
func (s *blockingConn) pollInput() bool {
	switch {
	case s.closeState == lingering:
		before := s.lingerBudget
		s.discard()
		return s.closeState != lingering || s.lingerBudget != before
	case s.closeState != open || s.inputState == inputClosed || s.inputState == stuck || s.turn == turnQueued || s.inputState == stalled:
		return true
	case s.inputState == exclusive: // a handler, in fill
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

// linger discards what arrives until the connection has ended.
func (s *blockingConn) linger() {
	for s.runActions(); s.closeState == lingering; s.runActions() {
		s.awaitInput(&s.transport)
	}
}

func (s *blockingConn) rearm(*transport) {} // request and linger read until there is nothing

// wakeReader ends await, if what has changed matters there: the connection's goroutine
// waits for a turn, for the rest of a body, or for the end.
func (s *blockingConn) wakeReader(*transport) {
	if s.awaiting && (s.inputState != parsing || s.closeState != open || s.turn == turnQueued) {
		s.socket.Wake()
	}
}

func (s *blockingConn) queueTurn(*transport) {
	s.changed.Broadcast()
	s.wakeReader(nil)
}

// awaitWritable has a goroutine wait until the client has read something.
func (s *blockingConn) awaitWritable(*transport) {
	go func() { // until there is room, or the connection is closed
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

// discardInput reads on for a goroutine that is with a handler that does not return.
func (s *blockingConn) discardInput(*transport) {
	if s.inputState == stuck {
		go func() { // until the client closes
			s.lock.Lock()
			defer s.lock.Unlock()
			s.linger()
		}()
	}
}

// handlerExited is for a handler that took its goroutine with it. If that was the
// connection's own, another one goes on.
func (s *blockingConn) handlerExited(_ *transport, alone bool, _ uint64) {
	if alone || s.parent.serial {
		go s.serveConn()
	}
}

// closeSocket closes the socket, on a goroutine that does not hold the lock: Close waits
// for those who wait in it.
func (s *blockingConn) closeSocket(*transport) {
	go func() {
		s.socket.Close()
		s.parent.mu.Lock()
		delete(s.parent.open, s)
		s.parent.mu.Unlock()
		s.parent.srv.connClosed()
	}()
}
