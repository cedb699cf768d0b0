package server

import (
	"errors"
	"net/netip"

	"socketup/part4-pooling/http1"
)

// A conn is one connection, without its socket: it is told what has happened,
// and says what to do. Order, bounds, deadlines and endings are here; who waits
// for the kernel, reads and writes is a driver (driver.go). This is the way of a
// byte:
//
//	heard, received   there is something to read; it was read into in
//	take              a request is taken off it and has a slot in line
//	finish            its handler is done: the slot has its answer
//	advance           what is finished at the head of the line goes into out
//	next, wrote       out is written, as far as the kernel takes it
//	next              all is answered and nothing more will come: the connection is closed
//
// Nothing here makes a system call, starts a goroutine, or waits. The driver's
// lock guards all of it.
type conn struct {
	srv   *Server
	t     *transport // for the handlers, who may wait
	stock *stock
	peer  netip.Addr // the client, as accept(2) told; never changed

	in      input
	intake  intake
	turn    turn
	line    line
	running int // handlers that have not returned, and requests that a taker has and did not deliver
	out     outbound

	answered int64 // the clock when the line became empty
	since    int64 // the clock when a wait began, for a head or for the end of lingering
	lingers  int   // bytes that it may still discard
	end      end
	why      error // it is dead
	asks     ask
	guest    Guest // what a taker has for this client (relay.go)
}

var (
	errReset     = errors.New("the client has reset the connection")
	errBrokenOff = errors.New("a handler failed in the middle of its answer")
	errHeadEnded = &http1.Refusal{Status: 400, Reason: "the connection ended inside a request"}
	errEmpty     = &http1.Refusal{Status: 400, Reason: "empty lines came, and no request"}
	errExited    = &http1.Refusal{Status: 500, Reason: "the handler ended its goroutine"}
)

// next returns what the driver has to do now, until ok is false.
func (c *conn) next() (do ask, ok bool) {
	switch {
	case c.asks != 0:
		do = c.asks & -c.asks
		c.asks &^= do
	case c.end == closed || c.out.state == writing || c.out.state == retrying:
		return 0, false
	case c.end == dead:
		c.end.to(closed)
		if c.intake != alone && c.intake != lost {
			c.in.clear()
		}
		do = doClose
	case c.out.state == unwritten && !c.out.empty():
		c.out.begin(c.srv.clock.now() + int64(c.srv.Limits.WriteTime))
		do = doWrite
	case c.end == lingering || c.intake != over && c.intake != lost || !c.written():
		return 0, false
	case c.out.bare: // and whole
		c.out.bare = false
		do = askOrderly
	case c.in.state == atEnd:
		c.end.to(dead)
		do = askWake
	default: // the client may still send, and is given the time to close too: part 1 told why
		const most = 64 << 20 // bytes
		c.lingers, c.since = most, c.srv.clock.now()
		c.end.to(lingering)
		c.asks |= askWake
		do = doFIN
	}
	return do, true
}

// heard is for an event of the socket: something to read, room to write. They may
// be those of an earlier owner of the descriptor, whose connection a child process
// has kept open: so they are hints.
func (c *conn) heard(fin bool) want {
	c.out.hasRoom()
	if fin && c.in.state < ending {
		c.in.state.to(ending)
	}
	switch {
	case c.end == lingering:
		return wantDiscard
	case c.end != open || c.intake == over || c.turn != resting:
		return wantNothing
	case c.intake == alone || c.intake == lost:
		c.asks |= askWake
		return wantNothing
	}
	c.turn.to(looking)
	if c.srv.stopping.Load() && http1.FindHead(c.in.bytes(), 0) > 0 { // a stop ends behind the last request that has been read
		return wantTake
	}
	return wantRead
}

// turnBegins is for a connection that has asked for a turn. What is in in already
// is no event.
func (c *conn) turnBegins() want {
	c.turn.to(resting)
	return c.heard(false)
}

// room is where the driver reads to. Only now is a buffer needed: who is idle has
// none.
func (c *conn) room() []byte {
	c.in.compact()
	c.in.borrow()
	return c.in.room()
}

// received is for a read of n bytes, into room.
func (c *conn) received(n int) {
	full := n == len(c.in.room())
	c.in.w += n
	switch {
	case full && c.in.state == silent: // events are not told twice
		c.in.state.to(readable)
	case !full && c.in.state == readable:
		c.in.state.to(silent)
	}
}

// drained is for a read that found nothing.
func (c *conn) drained() {
	if c.in.state == readable || c.in.state == ending {
		c.in.state.to(silent)
	}
}

// atEnd is for a read that found the end.
func (c *conn) atEnd() {
	if c.in.state != atEnd {
		c.in.state.to(atEnd)
	}
}

// discarded is for a read of n bytes that nobody wants.
func (c *conn) discarded(n int) {
	if c.lingers -= n; c.lingers <= 0 {
		c.fail(nil)
		return
	}
	c.asks |= askEvents
}

// fail ends all reading and writing, at once: the handlers are told, and the
// goroutines that wait are woken.
func (c *conn) fail(why error) {
	if c.end == dead || c.end == closed {
		return
	}
	c.end.to(dead)
	c.why = why
	for s := c.line.head; s != nil; s = s.behind {
		s.owner.cancel()
	}
	if c.guest != nil && why != nil {
		c.guest.Abandon()
	}
	c.asks |= askWake
	c.asks &^= askTurn | askEvents | askLook
}

// wrote is for a write that took n bytes.
func (c *conn) wrote(n int) {
	if c.out.wrote(n) {
		c.advance()
	}
}

// writeFailed is for a write that will never take more.
func (c *conn) writeFailed(why error) {
	c.out.state.to(unwritten)
	c.fail(why)
}

// written says whether all answers are out.
func (c *conn) written() bool { return c.line.length == 0 && c.out.empty() }

// resume has the driver go on with c where it had stopped.
func (c *conn) resume() {
	if c.end != open {
		return
	}
	c.since = c.srv.clock.now() // nobody has looked until now
	if c.turn == resting {
		c.turn.to(owed)
		c.asks |= askTurn
	}
}

// finish puts the answer of x in its slot.
func (c *conn) finish(x *exchange) {
	c.running--
	back := x.alone && !x.expired // the connection is ours again
	switch {
	case back && (x.last || c.end != open):
		c.intake.to(over)
		c.in.clear()
	case back:
		c.intake.to(taking)
	}
	if !x.expired {
		c.line.finish(&x.slot, x.wire)
	}
	c.advance()
	if back && c.intake == taking {
		c.resume()
	}
}

// advance moves what is finished at the head of the line into out. When out is
// full the rest stays in line, and a full line stops the reader.
func (c *conn) advance() {
	for !c.out.full() {
		s := c.line.ready()
		if s == nil {
			break
		}
		if c.end == open {
			c.out.append(s.answer)
		}
		s.owner.recycle()
	}
	if c.line.length == 0 {
		c.answered = c.srv.clock.now()
	}
	if c.intake == stalled && !c.full() {
		c.intake.to(taking)
		c.resume()
	}
	if c.running > 0 { // only they wait
		c.asks |= askWake
	}
}

// streams takes b, a part of the answer of x, whose turn it is.
func (c *conn) streams(x *exchange, b []byte) {
	if !x.begun && x.res.endsWithConnection() {
		c.out.bare = true
		c.asks |= askReset
	}
	x.begun, x.due = true, noLimit
	c.out.append(b)
}

// invite is for a handler that reads b. It sends 100 Continue, if the client waits
// for it; but not in the middle of an answer, where it would be a part of its body.
func (c *conn) invite(b *Body) {
	if b.expected && !b.x.begun && c.end == open {
		b.expected, b.since = false, c.srv.clock.now()
		c.out.append([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
	}
}

// exited is for a handler that ended its goroutine (runtime.Goexit).
func (c *conn) exited(x *exchange) {
	switch {
	case x.expired:
	case x.begun:
		c.fail(errBrokenOff)
	default:
		x.last = x.last || x.alone
		x.wire = x.plain(errExited, x.last)
	}
	c.finish(x)
}
