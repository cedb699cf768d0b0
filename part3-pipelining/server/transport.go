package server

import (
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"socketup/part3-pipelining/socket"
)

// A transport is a connection with its socket. It does what the conn asks for and
// tells it what came of that; a driver says when, and who waits meanwhile. The
// handlers' goroutines come here too (handlerio.go).
type transport struct {
	conn
	fd      int         // the driver closes it, after actionClose; who uses it has the lock, or writing
	mu      *sync.Mutex // guards all of this, and is open only while a write is under way
	changed sync.Cond
	driver  connDriver
}

// A connDriver is what a transport needs of its driver: all is called with the lock.
type connDriver interface {
	queueTurn(*transport)                                  // it is to have a turn
	rearm(*transport)                                      // the events of its socket are to be told once more
	awaitWritable(*transport)                              // heard is to be called when there is room to write
	awaitInput(*transport)                                 // opens the lock until something may have arrived, or woken was called
	wakeReader(*transport)                                 // whoever is in await returns
	discardInput(*transport)                               // what still arrives is to be discarded
	closeSocket(*transport)                                // the socket is not used any more
	handlerExited(t *transport, alone bool, number uint64) // the goroutine of that handler ends
}

func newTransport(s *Server, h connDriver, mu *sync.Mutex, stock *exchangeCache, fd int, peer netip.Addr) *transport {
	t := &transport{}
	t.init(s, h, mu, stock, fd, peer)
	return t
}

func (t *transport) init(s *Server, h connDriver, mu *sync.Mutex, stock *exchangeCache, fd int, peer netip.Addr) {
	t.fd, t.mu, t.driver, t.changed.L = fd, mu, h, mu
	t.conn = conn{srv: s, transport: t, exchanges: stock, peer: peer, waitingSince: s.clock.now()}
}

// runActions does what the connection asks for, until it asks for nothing. The lock is
// open during a write.
func (t *transport) runActions() {
	for {
		do, ok := t.nextAction()
		if !ok {
			return
		}
		t.perform(do)
	}
}

func (t *transport) perform(do action) {
	switch do {
	case actionWrite:
		t.write()
	case actionWake:
		t.changed.Broadcast()
		t.driver.wakeReader(t)
	case actionTurn:
		t.driver.queueTurn(t)
	case actionRearm:
		t.driver.rearm(t)
	case actionIdleCheck:
		t.read()
		t.closeIfIdle()
	case actionResetOnClose:
		unix.SetsockoptLinger(t.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	case actionFINOnClose:
		unix.SetsockoptLinger(t.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{})
	case actionFIN:
		unix.Shutdown(t.fd, unix.SHUT_WR)
		t.discard()
		t.driver.discardInput(t)
	case actionClose:
		t.driver.closeSocket(t)
	}
}

// runEventActions does what an event has asked for, and writes only if much has gathered:
// more responses may be about to join.
func (t *transport) runEventActions() {
	for t.actions != 0 {
		do, _ := t.nextAction()
		t.perform(do)
	}
	if t.output.full() {
		t.runActions()
	}
}

// read reads what has arrived, without waiting, and returns whether the connection
// has heard of anything.
func (t *transport) read() (news bool) {
	room := t.readSpace()
	if len(room) == 0 {
		t.onRead(0)
		return true
	}
	n, err := socket.ReadNow(uintptr(t.fd), room)
	for err == unix.EINTR {
		n, err = socket.ReadNow(uintptr(t.fd), room)
	}
	switch {
	case n > 0:
		t.onRead(n)
	case err == unix.EAGAIN:
		t.onReadBlocked()
		return false
	case err != nil:
		t.fail(err)
	default:
		t.onReadEOF()
	}
	return true
}

func (t *transport) write() {
	t.mu.Unlock()
	n, err := socket.WriteNow(uintptr(t.fd), t.output.unsent)
	for err == unix.EINTR {
		n, err = socket.WriteNow(uintptr(t.fd), t.output.unsent)
	}
	t.mu.Lock()
	switch {
	case err == nil:
		t.onWritten(n)
	case err != unix.EAGAIN:
		t.onWriteError(err)
	default:
		if t.output.onBlocked(); t.output.writeState == writeBlocked {
			t.driver.awaitWritable(t)
		}
	}
}

// discard reads what a client sends that has been told that no more is sent. It
// does not touch in: a handler that does not come back may be at it.
func (t *transport) discard() {
	if t.closeState != lingering {
		return
	}
	scratch := readBuffers.Get().(*[readBufferSize]byte)
	n, err := socket.ReadNow(uintptr(t.fd), scratch[:])
	readBuffers.Put(scratch)
	switch {
	case err == unix.EAGAIN: // not yet
	case n > 0, err == unix.EINTR:
		t.onDiscard(max(n, 0))
	default: // the end, or a reset
		t.fail(nil)
	}
}

// handleEvent is for an event of the socket. It returns whether there may be requests to
// take.
func (t *transport) handleEvent(fin bool) bool { return t.react(t.onEvent(fin)) }

// react does what an event wants, and returns whether there may be requests to take.
func (t *transport) react(w reaction) bool {
	switch w {
	case reactRead:
		t.read()
	case reactDiscard:
		t.discard()
		t.runActions()
	case reactNothing:
		t.runActions()
	}
	return w == reactRead || w == reactTake
}

// goexit is exited for a goroutine that ends, and must leave the lock held.
func (t *transport) goexit(x *exchange) {
	t.mu.Lock()
	alone, number := x.exclusive, x.seq
	t.onGoexit(x)
	t.runActions()
	t.driver.handlerExited(t, alone, number)
}
