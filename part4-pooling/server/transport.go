package server

import (
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"socketup/part4-pooling/socket"
)

// A transport is a conn with its socket. It performs the actions of the conn and reports
// their results to it. The driver decides when, and which goroutine waits. Handlers'
// goroutines use it too (handlerio.go).
type transport struct {
	conn
	fd      int         // owned by the driver, which closes it after actionClose. Use it with mu held, or in writeState writing
	mu      *sync.Mutex // guards the conn; not held during write(2), during calls of Server.Handler (in part 4 also Offloader), or while a goroutine waits
	changed sync.Cond   // broadcast on actionWake
	driver  connDriver
}

// A connDriver is what a transport needs of its driver: of the loop, or of the
// blockingConn itself. Every method is called with the lock held.
type connDriver interface {
	queueTurn(*transport)                                      // calls onTurn after other connections have had their turns
	rearm(*transport)                                          // has the kernel report the socket's events again
	awaitWritable(*transport)                                  // calls onWritable when the socket is writable
	awaitInput(*transport)                                     // waits, without the lock, for input or wakeReader; the blocking drivers also read the input
	wakeReader(*transport)                                     // ends an awaitInput that does not wait on changed; perform has broadcast that
	discardInput(*transport)                                   // FIN was sent: makes sure that a goroutine discards what the client still sends
	closeSocket(*transport)                                    // closes the socket, perhaps later
	handlerExited(t *transport, wasExclusive bool, seq uint64) // the handler has called runtime.Goexit: replaces its goroutine if that did more
}

func newTransport(s *Server, d connDriver, mu *sync.Mutex, cache *exchangeCache, fd int, peer netip.Addr) *transport {
	t := &transport{}
	t.init(s, d, mu, cache, fd, peer)
	return t
}

func (t *transport) init(s *Server, d connDriver, mu *sync.Mutex, cache *exchangeCache, fd int, peer netip.Addr) {
	t.fd, t.mu, t.driver, t.changed.L = fd, mu, d, mu
	t.conn = conn{srv: s, transport: t, exchanges: cache, peer: peer, waitingSince: s.clock.now()}
}

// runActions performs the connection's actions until there are none. The caller holds the
// lock; it is released during a write.
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

// runEventActions performs the actions that events have requested. It writes only if output
// is full, because more responses may follow and share the write.
func (t *transport) runEventActions() {
	for t.actions != 0 {
		do, _ := t.nextAction()
		t.perform(do)
	}
	if t.output.full() {
		t.runActions()
	}
}

// read reads what has arrived, without blocking. It returns false if that is nothing
// (EAGAIN).
func (t *transport) read() (found bool) {
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

// write writes what output has to send, as far as the kernel accepts it, without blocking.
// It releases the lock during write(2). The driver calls onWritable when it can continue.
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

// discard reads and drops what the client sends after the server's FIN. It does not use
// input: a handler that is stuck may still read from it.
func (t *transport) discard() {
	if t.closeState != lingering {
		return
	}
	scratch := readBuffers.Get().(*[readBufferSize]byte)
	n, err := socket.ReadNow(uintptr(t.fd), scratch[:])
	readBuffers.Put(scratch)
	switch {
	case err == unix.EAGAIN: // nothing has arrived
	case n > 0, err == unix.EINTR:
		t.onDiscard(max(n, 0))
	default: // EOF or a reset
		t.fail(nil)
	}
}

// handleEvent handles an event of the socket; fin as in onEvent. It returns whether there
// may be requests to take.
func (t *transport) handleEvent(fin bool) bool { return t.react(t.onEvent(fin)) }

// react performs r, and returns whether there may be requests to take.
func (t *transport) react(r reaction) bool {
	switch r {
	case reactRead:
		t.read()
	case reactDiscard:
		t.discard()
		t.runActions()
	case reactNothing:
		t.runActions()
	}
	return r == reactRead || r == reactTake
}

// goexit completes x, whose handler is ending its goroutine. It returns with the lock held:
// the deferred calls of the goroutine expect that, and unlock it.
func (t *transport) goexit(x *exchange) {
	t.mu.Lock()
	wasExclusive, seq := x.exclusive, x.seq
	t.onGoexit(x)
	t.runActions()
	t.driver.handlerExited(t, wasExclusive, seq)
}
