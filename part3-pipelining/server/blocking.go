package server

import (
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"socketup/part3-pipelining/socket"
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
	c := &blockingConn{socket: p, parent: d}
	c.init(d.srv, c, &c.lock, &c.cache, fd, peer)
	d.mu.Lock()
	d.open[c] = true
	d.mu.Unlock()
	go c.serveConn() // ends when the connection does
	return nil
}

// forEach holds one connection's lock at a time, and not mu.
func (d *blockingDriver) forEach(f func(*transport)) {
	d.mu.Lock()
	all := make([]*blockingConn, 0, len(d.open))
	for c := range d.open {
		all = append(all, c)
	}
	d.mu.Unlock()
	for _, c := range all {
		c.lock.Lock()
		if c.closeState != closed {
			f(&c.transport)
		}
		c.lock.Unlock()
	}
}

// serveConn is the goroutine of a connection. It serves the requests, then discards
// input until the client closes.
func (c *blockingConn) serveConn() {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.parent.serve(c)
	c.runActions()
	for c.closeState == open {
		c.changed.Wait() // handlers still run, or the client has not read its responses
	}
	c.linger()
}

// nextRequest waits for the next request. It returns nil when there will be no more.
func (c *blockingConn) nextRequest() *exchange {
	for c.closeState == open && c.inputState != inputClosed && c.inputState != stuck {
		if c.turn == turnQueued {
			c.react(c.onTurn())
		}
		if c.turn == turnActive {
			if x := c.takeRequest(); x != nil {
				return x
			}
			c.endTurn()
			c.runActions()
			continue
		}
		if c.inputState == stalled { // complete makes room, and queues a turn
			c.changed.Wait()
			continue
		}
		c.awaitInput(&c.transport)
	}
	return nil
}

// awaitInput waits in Go's poller, without the lock, and reads with the lock held
// (pollInput), until a read has changed the connection's state or wakeReader interrupts it.
func (c *blockingConn) awaitInput(*transport) {
	c.awaiting = true
	c.lock.Unlock()
	err := c.socket.RawConn.Read(func(uintptr) bool {
		c.lock.Lock()
		defer c.lock.Unlock()
		return c.pollInput()
	})
	c.lock.Lock()
	c.awaiting = false
	if socket.IsTimeout(err) {
		c.socket.ClearWake()
	}
}

// pollInput reads what has arrived. It returns false if awaitInput should continue to wait.
func (c *blockingConn) pollInput() bool {
	switch {
	case c.closeState == lingering:
		before := c.lingerBudget
		c.discard()
		return c.closeState != lingering || c.lingerBudget != before
	case c.closeState != open || c.inputState == inputClosed || c.inputState == stuck || c.turn == turnQueued || c.inputState == stalled:
		return true
	case c.inputState == exclusive: // a handler waits in readMoreBody
		return c.read()
	}
	found := c.read()
	if found {
		c.turn.moveTo(turnActive)
	} else {
		c.input.releaseIfEmpty()
	}
	return found
}

// linger discards input until the connection is closed.
func (c *blockingConn) linger() {
	for c.runActions(); c.closeState == lingering; c.runActions() {
		c.awaitInput(&c.transport)
	}
}

func (c *blockingConn) rearm(*transport) {} // nextRequest and linger read until EAGAIN

// wakeReader interrupts awaitInput if the change matters to it: a turn is queued, input
// is not being parsed, or the connection is closing.
func (c *blockingConn) wakeReader(*transport) {
	if c.awaiting && (c.inputState != parsing || c.closeState != open || c.turn == turnQueued) {
		c.socket.Wake()
	}
}

func (c *blockingConn) queueTurn(*transport) {
	c.changed.Broadcast()
	c.wakeReader(nil)
}

// awaitWritable starts a goroutine that waits until the send buffer has room.
func (c *blockingConn) awaitWritable(*transport) {
	go func() { // ends when there is room, or the connection is closed
		c.socket.RawConn.Write(func(fd uintptr) bool {
			ask := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
			n, _ := unix.Poll(ask, 0)
			return n > 0
		})
		c.lock.Lock()
		defer c.lock.Unlock()
		c.output.onWritable()
		c.runActions()
	}()
}

// discardInput reads in place of a connection's goroutine that is stuck in a handler.
func (c *blockingConn) discardInput(*transport) {
	if c.inputState == stuck {
		go func() { // ends when the client closes
			c.lock.Lock()
			defer c.lock.Unlock()
			c.linger()
		}()
	}
}

// handlerExited replaces the connection's goroutine if the handler ended it with
// runtime.Goexit.
func (c *blockingConn) handlerExited(_ *transport, wasExclusive bool, _ uint64) {
	if wasExclusive || c.parent.serial {
		go c.serveConn()
	}
}

// closeSocket closes the socket on a goroutine that does not hold the lock: Close waits
// for goroutines that are inside RawConn.Read or RawConn.Write, and those need the lock.
func (c *blockingConn) closeSocket(*transport) {
	go func() {
		c.socket.Close()
		c.parent.mu.Lock()
		delete(c.parent.open, c)
		c.parent.mu.Unlock()
		c.parent.srv.connClosed()
	}()
}
