package server

import (
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"socketup/part3-pipelining/socket"
)

// A transport is a connection with its socket. It does what the conn asks for and
// tells it what came of that; a driver says when, and who waits meanwhile. The
// handlers' goroutines come here too (handling.go).
type transport struct {
	conn
	fd      int         // the driver closes it, after doClose; who uses it has the lock, or writing
	mu      *sync.Mutex // guards all of this, and is open only while a write is under way
	changed sync.Cond
	driver  host
}

// A host is what a transport needs of its driver: all is called with the lock.
type host interface {
	owe(*transport)                                 // it is to have a turn
	again(*transport)                               // the events of its socket are to be told once more
	blocked(*transport)                             // heard is to be called when there is room to write
	await(*transport)                               // opens the lock until something may have arrived, or woken was called
	woken(*transport)                               // whoever is in await returns
	finned(*transport)                              // what still arrives is to be discarded
	close(*transport)                               // the socket is not used any more
	exited(t *transport, alone bool, number uint64) // the goroutine of that handler ends
}

func newTransport(s *Server, h host, mu *sync.Mutex, stock *stock, fd int, peer netip.Addr) *transport {
	t := &transport{}
	t.init(s, h, mu, stock, fd, peer)
	return t
}

func (t *transport) init(s *Server, h host, mu *sync.Mutex, stock *stock, fd int, peer netip.Addr) {
	t.fd, t.mu, t.driver, t.changed.L = fd, mu, h, mu
	t.conn = conn{srv: s, t: t, stock: stock, peer: peer, since: s.clock.now()}
}

// act does what the connection asks for, until it asks for nothing. The lock is
// open during a write.
func (t *transport) act() {
	for {
		do, ok := t.next()
		if !ok {
			return
		}
		t.perform(do)
	}
}

func (t *transport) perform(do ask) {
	switch do {
	case doWrite:
		t.write()
	case askWake:
		t.changed.Broadcast()
		t.driver.woken(t)
	case askTurn:
		t.driver.owe(t)
	case askEvents:
		t.driver.again(t)
	case askLook:
		t.read()
		t.looked()
	case askReset:
		unix.SetsockoptLinger(t.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	case askOrderly:
		unix.SetsockoptLinger(t.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{})
	case doFIN:
		unix.Shutdown(t.fd, unix.SHUT_WR)
		t.discard()
		t.driver.finned(t)
	case doClose:
		t.driver.close(t)
	}
}

// attend does what an event has asked for, and writes only if much has gathered:
// more answers may be about to join.
func (t *transport) attend() {
	for t.asks != 0 {
		do, _ := t.next()
		t.perform(do)
	}
	if t.out.full() {
		t.act()
	}
}

// read reads what has arrived, without waiting, and returns whether the connection
// has heard of anything.
func (t *transport) read() (news bool) {
	room := t.room()
	if len(room) == 0 {
		t.received(0)
		return true
	}
	n, err := socket.ReadNow(uintptr(t.fd), room)
	for err == unix.EINTR {
		n, err = socket.ReadNow(uintptr(t.fd), room)
	}
	switch {
	case n > 0:
		t.received(n)
	case err == unix.EAGAIN:
		t.drained()
		return false
	case err != nil:
		t.fail(err)
	default:
		t.atEnd()
	}
	return true
}

func (t *transport) write() {
	t.mu.Unlock()
	n, err := socket.WriteNow(uintptr(t.fd), t.out.unsent)
	for err == unix.EINTR {
		n, err = socket.WriteNow(uintptr(t.fd), t.out.unsent)
	}
	t.mu.Lock()
	switch {
	case err == nil:
		t.wrote(n)
	case err != unix.EAGAIN:
		t.writeFailed(err)
	default:
		if t.out.refused(); t.out.state == blocked {
			t.driver.blocked(t)
		}
	}
}

// discard reads what a client sends that has been told that no more is sent. It
// does not touch in: a handler that does not come back may be at it.
func (t *transport) discard() {
	if t.end != lingering {
		return
	}
	scratch := inputs.Get().(*[inSize]byte)
	n, err := socket.ReadNow(uintptr(t.fd), scratch[:])
	inputs.Put(scratch)
	switch {
	case err == unix.EAGAIN: // not yet
	case n > 0, err == unix.EINTR:
		t.discarded(max(n, 0))
	default: // the end, or a reset
		t.fail(nil)
	}
}

// hear is for an event of the socket. It returns whether there may be requests to
// take.
func (t *transport) hear(fin bool) bool { return t.do(t.heard(fin)) }

// do does what an event wants, and returns whether there may be requests to take.
func (t *transport) do(w want) bool {
	switch w {
	case wantRead:
		t.read()
	case wantDiscard:
		t.discard()
		t.act()
	case wantNothing:
		t.act()
	}
	return w == wantRead || w == wantTake
}

// leave is exited for a goroutine that ends, and must leave the lock held.
func (t *transport) leave(x *exchange) {
	t.mu.Lock()
	alone, number := x.alone, x.number
	t.exited(x)
	t.act()
	t.driver.exited(t, alone, number)
}
