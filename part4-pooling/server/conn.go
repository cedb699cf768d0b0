package server

import (
	"errors"
	"net/netip"

	"socketup/part4-pooling/http1"
)

// A conn is one connection without its socket: a driver reports events, and conn decides
// what to do next. Its methods are the rules of order, bounds, deadlines and closing; a
// driver (driver.go) waits for the kernel, reads and writes. The path of a request:
//
//	onEvent, onRead        the loop reports that the socket is readable; bytes were read into input
//	takeRequest            a request is removed from input and gets a slot (takerequest.go, slot.go)
//	exchange.run           its handler is called and its response encoded (exchange.go, response.go)
//	complete               its handler or an engine (offload.go) has answered it: the slot holds the response
//	advance                completed responses move from the head of the queue to output (writequeue.go)
//	nextAction, onWritten  output is written, as far as the kernel accepts it (transport.go)
//	nextAction             all is answered and no more requests can come: close (state.go)
//
// Nothing here makes a system call, starts a goroutine, or waits. The driver's
// lock guards all of it.
type conn struct {
	srv       *Server
	transport *transport // for handlers, which may wait
	exchanges *exchangeCache
	peer      netip.Addr // the client, from accept(2); never changes

	input      readBuffer
	inputState inputState
	turn       turnState
	slots      slotQueue
	running    int // handlers that have not returned, and offloaded requests that are not complete
	givingBack int // handlers that wait for their turns, and may give back what they hold (giveback.go)
	output     writeQueue

	waitingMemory int64 // bytes of credit that its requests have (waitingmemory.go)

	idleSince    int64 // the clock when the connection last made progress with no request left
	waitingSince int64 // the clock when the wait for a head, or lingering, began
	lingerBudget int   // bytes that may still be discarded before the connection is closed
	closeState   closeState
	err          error // why the connection failed; nil if it did not
	actions      action
	attachment   Attachment // what the offloader keeps for this client (proxy.go); nil for nothing
}

var (
	errReset         = errors.New("the client reset the connection")
	errAborted       = errors.New("a handler failed in the middle of its response")
	errHeadTruncated = &http1.StatusError{Status: 400, Detail: "the connection ended inside a request"}
	errEmptyLines    = &http1.StatusError{Status: 400, Detail: "empty lines came instead of a request"}
	errHandlerExited = &http1.StatusError{Status: 500, Detail: "the handler ended its goroutine"}
)

// nextAction returns what the driver must do now. The driver calls it until ok is false.
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
	case c.output.closeDelimited: // the response is complete: a FIN is now correct
		c.output.closeDelimited = false
		do = actionFINOnClose
	case c.input.readState == atEOF:
		c.closeState.moveTo(closing)
		do = actionWake
	default: // the client may still send: a close with unread input would reset the connection (part 1)
		const maxLinger = 64 << 20 // bytes
		c.lingerBudget, c.waitingSince = maxLinger, c.srv.clock.now()
		c.closeState.moveTo(lingering)
		c.actions |= actionWake
		do = actionFIN
	}
	return do, true
}

// onEvent handles an event of the socket: it is readable or writable, or, with fin, the
// client has closed its side. An event is only a hint. It may belong to the
// descriptor's previous connection, if a child process keeps that one open (epoll(7)).
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
	if c.srv.stopping.Load() && http1.HeadLength(c.input.bytes(), 0) > 0 { // a stopping server reads no further than the last request it has
		return reactTake
	}
	return reactRead
}

// onTurn begins a turn that the connection asked for. Requests that are already in input
// cause no event.
func (c *conn) onTurn() reaction {
	c.turn.moveTo(turnIdle)
	return c.onEvent(false)
}

// readSpace returns the buffer for the driver's next read. It is acquired only now: an
// idle connection has none.
func (c *conn) readSpace() []byte {
	c.input.compact()
	c.input.acquire()
	return c.input.free()
}

// onRead records a read of n bytes into readSpace.
func (c *conn) onRead(n int) {
	full := n == len(c.input.free())
	c.input.w += n
	switch {
	case full && c.input.readState == wouldBlock: // edge-triggered: the kernel will not report the rest
		c.input.readState.moveTo(readable)
	case !full && c.input.readState == readable:
		c.input.readState.moveTo(wouldBlock)
	}
}

// onReadBlocked records a read that returned EAGAIN.
func (c *conn) onReadBlocked() {
	if c.input.readState == readable || c.input.readState == peerClosing {
		c.input.readState.moveTo(wouldBlock)
	}
}

// onReadEOF records a read that returned 0: the client has closed its side.
func (c *conn) onReadEOF() {
	if c.input.readState != atEOF {
		c.input.readState.moveTo(atEOF)
	}
}

// onDiscard records that n bytes were read and discarded.
func (c *conn) onDiscard(n int) {
	if c.lingerBudget -= n; c.lingerBudget <= 0 {
		c.fail(nil)
		return
	}
	c.actions |= actionRearm
}

// fail stops all reading and writing. It cancels every exchange and wakes waiting
// goroutines. If why is nil the connection ends without an error.
func (c *conn) fail(why error) {
	if c.closeState == closing || c.closeState == closed {
		return
	}
	c.closeState.moveTo(closing)
	c.err = why
	for s := c.slots.head; s != nil; s = s.next {
		s.exchange.cancel()
	}
	c.advance() // recycles the completed exchanges, whose responses are not sent
	if c.attachment != nil && why != nil {
		c.attachment.OnClientGone()
	}
	c.actions |= actionWake
	c.actions &^= actionTurn | actionRearm | actionIdleCheck
}

// onWritten records a write of n bytes.
func (c *conn) onWritten(n int) {
	if c.output.onWritten(n) {
		c.advance()
	}
}

// onWriteError records a write that failed; no more can be written.
func (c *conn) onWriteError(why error) {
	c.output.writeState.moveTo(notWriting)
	c.fail(why)
}

// allWritten reports whether every response has been written.
func (c *conn) allWritten() bool { return c.slots.length == 0 && c.output.empty() }

// queueTurn asks the driver to resume taking requests from c.
func (c *conn) queueTurn() {
	if c.closeState != open {
		return
	}
	c.waitingSince = c.srv.clock.now() // the time until now is the server's, not the client's
	if c.turn == turnIdle {
		c.turn.moveTo(turnQueued)
		c.actions |= actionTurn
	}
}

// complete puts the response of x in its slot. Its handler has returned, or the engine that
// took x has answered it.
func (c *conn) complete(x *exchange) {
	c.running--
	returned := x.exclusive && !x.expired // x had the connection to itself
	switch {
	case returned && (x.closeAfter || c.closeState != open):
		c.inputState.moveTo(inputClosed)
		c.input.clear()
	case returned:
		c.inputState.moveTo(parsing)
	}
	if !x.expired {
		c.slots.complete(&x.slot, x.encoded)
	}
	switch {
	case x.expired: // its slot has another response, or has left already
		c.returnCredit(x, 0)
	case x.credit > 0 && c.slots.head != &x.slot:
		c.shrinkCredit(x)
	}
	c.advance()
	if returned && c.inputState == parsing {
		c.queueTurn()
	}
}

// advance moves completed responses from the head of the slot queue to output. When
// output is full the rest stays queued, and a full queue stalls the input.
func (c *conn) advance() {
	for c.closeState != open || !c.output.full() {
		s := c.slots.popReady()
		if s == nil {
			break
		}
		if c.closeState == open {
			c.output.enqueue(s.encoded)
		}
		c.reportServed(s.exchange, s.encoded)
		s.exchange.recycle()
	}
	if c.slots.length == 0 {
		c.idleSince = c.srv.clock.now()
	}
	if c.inputState == stalled && !c.pipelineFull() {
		c.inputState.moveTo(parsing)
		c.queueTurn()
	}
	if c.running > 0 { // only handlers and engines wait for it
		c.actions |= actionWake
	}
}

// queueStreamed appends b, a part of the response of x, to output. x is at the head of
// the queue.
func (c *conn) queueStreamed(x *exchange, b []byte) {
	if !x.committed && x.res.isCloseDelimited() {
		c.output.closeDelimited = true
		c.actions |= actionResetOnClose
	}
	x.committed, x.deadline = true, noDeadline
	c.output.enqueue(b)
	c.countSent(x, b)
}

// sendContinue sends 100 Continue if the client of b waits for it. Once the response has
// begun it does not: the client would take the line for a part of that response.
func (c *conn) sendContinue(b *Body) {
	if b.awaitsContinue && !b.x.committed && c.closeState == open {
		b.awaitsContinue, b.waitingSince = false, c.srv.clock.now()
		c.output.enqueue([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
	}
}

// onGoexit completes x, whose handler ended its goroutine (runtime.Goexit).
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
