package server

import (
	"errors"
	"net/netip"

	"socketup/part3-pipelining/http1"
)

// A conn is one connection, without its socket: it is told what has happened,
// and says what to do. Order, bounds, deadlines and endings are here; who waits
// for the kernel, reads and writes is a driver (driver.go). This is the way of a
// byte:
//
//	onEvent, onRead        there is something to read; it was read into in
//	takeRequest            a request is taken off it and has a slot in line
//	complete               its handler is done: the slot has its response
//	advance                what is finished at the head of the queue goes into out
//	nextAction, onWritten  out is written, as far as the kernel takes it
//	nextAction             all is answered and nothing more will come: the connection is closed
//
// Nothing here makes a system call, starts a goroutine, or waits. The driver's
// lock guards all of it.
type conn struct {
	srv       *Server
	transport *transport // for the handlers, who may wait
	exchanges *exchangeCache
	peer      netip.Addr // the client, as accept(2) told; never changed

	input      readBuffer
	inputState inputState
	turn       turnState
	slots      slotQueue
	running    int // handlers that have not returned
	output     writeQueue

	idleSince    int64 // the clock when the queue became empty
	waitingSince int64 // the clock when a wait began, for a head or for the end of lingering
	lingerBudget int   // bytes that it may still discard
	closeState   closeState
	err          error // it is dead
	actions      action
}

var (
	errReset         = errors.New("the client has reset the connection")
	errAborted       = errors.New("a handler failed in the middle of its answer")
	errHeadTruncated = &http1.StatusError{Status: 400, Detail: "the connection ended inside a request"}
	errEmptyLines    = &http1.StatusError{Status: 400, Detail: "empty lines came, and no request"}
	errHandlerExited = &http1.StatusError{Status: 500, Detail: "the handler ended its goroutine"}
)

// nextAction returns what the driver has to do now, until ok is false.
func (c *conn) nextAction() (do action, ok bool) {
	switch {
	case c.actions != 0:
		do = c.actions & -c.actions
		c.actions &^= do
	case c.closeState == closed || c.output.writeState == writing || c.output.writeState == writeRetry:
		return 0, false
	case c.closeState == closing:
		c.closeState.moveTo(closed)
		if c.inputState != exclusive && c.inputState != stuck {
			c.input.clear()
		}
		do = actionClose
	case c.output.writeState == notWriting && !c.output.empty():
		c.output.startWrite(c.srv.clock.now(), int64(c.srv.Limits.WriteTime))
		do = actionWrite
	case c.closeState == lingering || c.inputState != inputClosed && c.inputState != stuck || !c.allWritten():
		return 0, false
	case c.output.closeDelimited: // and whole
		c.output.closeDelimited = false
		do = actionFINOnClose
	case c.input.readState == atEOF:
		c.closeState.moveTo(closing)
		do = actionWake
	default: // the client may still send, and is given the time to close too: part 1 told why
		const most = 64 << 20 // bytes
		c.lingerBudget, c.waitingSince = most, c.srv.clock.now()
		c.closeState.moveTo(lingering)
		c.actions |= actionWake
		do = actionFIN
	}
	return do, true
}

// onEvent is for an event of the socket: something to read, room to write. They may
// be those of an earlier owner of the descriptor, whose connection a child process
// has kept open: so they are hints.
func (c *conn) onEvent(fin bool) reaction {
	c.output.onWritable()
	if fin && c.input.readState < peerClosing {
		c.input.readState.moveTo(peerClosing)
	}
	switch {
	case c.closeState == lingering:
		return reactDiscard
	case c.closeState != open || c.inputState == inputClosed || c.turn != turnIdle:
		return reactNothing
	case c.inputState == exclusive || c.inputState == stuck:
		c.actions |= actionWake
		return reactNothing
	}
	c.turn.moveTo(turnActive)
	if c.srv.stopping.Load() && http1.HeadLength(c.input.bytes(), 0) > 0 { // a stop ends behind the last request that has been read
		return reactTake
	}
	return reactRead
}

// onTurn is for a connection that has asked for a turn. What is in in already
// is no event.
func (c *conn) onTurn() reaction {
	c.turn.moveTo(turnIdle)
	return c.onEvent(false)
}

// readSpace is where the driver reads to. Only now is a buffer needed: who is idle has
// none.
func (c *conn) readSpace() []byte {
	c.input.compact()
	c.input.acquire()
	return c.input.free()
}

// onRead is for a read of n bytes, into room.
func (c *conn) onRead(n int) {
	full := n == len(c.input.free())
	c.input.w += n
	switch {
	case full && c.input.readState == wouldBlock: // events are not told twice
		c.input.readState.moveTo(readable)
	case !full && c.input.readState == readable:
		c.input.readState.moveTo(wouldBlock)
	}
}

// onReadBlocked is for a read that found nothing.
func (c *conn) onReadBlocked() {
	if c.input.readState == readable || c.input.readState == peerClosing {
		c.input.readState.moveTo(wouldBlock)
	}
}

// onReadEOF is for a read that found the end.
func (c *conn) onReadEOF() {
	if c.input.readState != atEOF {
		c.input.readState.moveTo(atEOF)
	}
}

// onDiscard is for a read of n bytes that nobody wants.
func (c *conn) onDiscard(n int) {
	if c.lingerBudget -= n; c.lingerBudget <= 0 {
		c.fail(nil)
		return
	}
	c.actions |= actionRearm
}

// fail ends all reading and writing, at once: the handlers are told, and the
// goroutines that wait are woken.
func (c *conn) fail(why error) {
	if c.closeState == closing || c.closeState == closed {
		return
	}
	c.closeState.moveTo(closing)
	c.err = why
	for s := c.slots.head; s != nil; s = s.next {
		s.exchange.cancel()
	}
	c.actions |= actionWake
	c.actions &^= actionTurn | actionRearm | actionIdleCheck
}

// onWritten is for a write that took n bytes.
func (c *conn) onWritten(n int) {
	if c.output.onWritten(n) {
		c.advance()
	}
}

// onWriteError is for a write that will never take more.
func (c *conn) onWriteError(why error) {
	c.output.writeState.moveTo(notWriting)
	c.fail(why)
}

// allWritten says whether all responses are out.
func (c *conn) allWritten() bool { return c.slots.length == 0 && c.output.empty() }

// queueTurn has the driver go on with c where it had stopped.
func (c *conn) queueTurn() {
	if c.closeState != open {
		return
	}
	c.waitingSince = c.srv.clock.now() // nobody has looked until now
	if c.turn == turnIdle {
		c.turn.moveTo(turnQueued)
		c.actions |= actionTurn
	}
}

// complete puts the response of x in its slot.
func (c *conn) complete(x *exchange) {
	c.running--
	back := x.exclusive && !x.expired // the connection is ours again
	switch {
	case back && (x.closeAfter || c.closeState != open):
		c.inputState.moveTo(inputClosed)
		c.input.clear()
	case back:
		c.inputState.moveTo(parsing)
	}
	if !x.expired {
		c.slots.complete(&x.slot, x.encoded)
	}
	c.advance()
	if back && c.inputState == parsing {
		c.queueTurn()
	}
}

// advance moves what is finished at the head of the queue into out. When out is
// full the rest stays in the queue, and a full line stops the reader.
func (c *conn) advance() {
	for !c.output.full() {
		s := c.slots.popReady()
		if s == nil {
			break
		}
		if c.closeState == open {
			c.output.enqueue(s.encoded)
		}
		s.exchange.recycle()
	}
	if c.slots.length == 0 {
		c.idleSince = c.srv.clock.now()
	}
	if c.inputState == stalled && !c.pipelineFull() {
		c.inputState.moveTo(parsing)
		c.queueTurn()
	}
	if c.running > 0 { // only handlers wait
		c.actions |= actionWake
	}
}

// queueStreamed takes b, a part of the response of x, whose turn it is.
func (c *conn) queueStreamed(x *exchange, b []byte) {
	if !x.committed && x.res.isCloseDelimited() {
		c.output.closeDelimited = true
		c.actions |= actionResetOnClose
	}
	x.committed, x.deadline = true, noDeadline
	c.output.enqueue(b)
}

// sendContinue is for a handler that reads b. It sends 100 Continue, if the client waits
// for it; but not in the middle of a response, where it would be a part of its body.
func (c *conn) sendContinue(b *Body) {
	if b.awaitsContinue && !b.x.committed && c.closeState == open {
		b.awaitsContinue, b.waitingSince = false, c.srv.clock.now()
		c.output.enqueue([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
	}
}

// onGoexit is for a handler that ended its goroutine (runtime.Goexit).
func (c *conn) onGoexit(x *exchange) {
	switch {
	case x.expired:
	case x.committed:
		c.fail(errAborted)
	default:
		x.closeAfter = x.closeAfter || x.exclusive
		x.encoded = x.errorResponse(errHandlerExited, x.closeAfter)
	}
	c.complete(x)
}
