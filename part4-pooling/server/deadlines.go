package server

import (
	"errors"
	"math"

	"socketup/part4-pooling/http1"
)

// Every wait for a client or a handler has a limit (limits.go). None needs a timer: a
// connection records when a wait began, or when it must end, and the server's clock
// checks every connection at every tick.

var (
	errHeadTimeout     = &http1.StatusError{Status: 408, Detail: "the request did not arrive in time"}
	errHandlerTimeout  = &http1.StatusError{Status: 503, Detail: "the handler did not answer in time"}
	errResponseTimeout = errors.New("a handler did not finish its response in time")
	errWriteTimeout    = errors.New("the client did not read its responses in time")
)

const noDeadline = math.MaxInt64 // a time that the clock never reaches

// startDeadline starts the time limit of x's handler now.
func (x *exchange) startDeadline() {
	if x.deadline = noDeadline; !x.timeoutDisabled {
		x.deadline = x.conn.srv.clock.now() + int64(x.conn.srv.Limits.HandlerTime)
	}
}

// disableTimeout exempts x from Limits.HandlerTime. It is for a handler each of whose
// waits has its own limit, and a response that names it; HandlerTime could only say that
// something took too long.
func (x *exchange) disableTimeout() {
	x.conn.transport.mu.Lock()
	defer x.conn.transport.mu.Unlock()
	x.timeoutDisabled = true
	x.startDeadline()
}

// checkDeadlines ends every wait of c whose time is up. The clock and waitForCapacity call
// it.
func (c *conn) checkDeadlines() {
	now := c.srv.clock.now()
	for x := c.firstOverdue(now); x != nil; x = c.firstOverdue(now) {
		c.expire(x)
	}
	if c.givingBack > 0 {
		c.actions |= actionWake
	}
	switch {
	case c.closeState == closing || c.closeState == closed:
	case c.output.deadline != 0 && now >= c.output.deadline:
		c.fail(errWriteTimeout)
	case c.closeState == lingering:
		limit := c.srv.Limits.LingerTime
		if c.srv.stopping.Load() && c.srv.atCapacity.Load() { // a client in the accept queue waits for this connection to close
			limit = min(limit, drainIdleTime)
		}
		if now >= c.waitingSince+int64(limit) {
			c.fail(nil)
		}
	case c.inputState == exclusive || c.inputState == stuck:
		c.actions |= actionWake // the waiting handler checks its own deadline
	case c.inputState == inputClosed || c.turn != turnIdle:
	case c.inputState == stalled && !c.pipelineFull(): // other connections have returned credit
		c.inputState.moveTo(parsing)
		c.queueTurn()
	case c.inputState == stalled: // stalled with nothing to write: timeouts completed the slots, and the handlers still run
		if c.allWritten() && now >= c.srv.waitDeadline(waitIdle, c.idleSince) {
			c.inputState.moveTo(inputClosed)
			c.actions |= actionWake
		}
	case !c.input.empty():
		if now >= c.srv.waitDeadline(waitHead, c.waitingSince) {
			c.rejectPartial(errHeadTimeout)
		}
	case c.allWritten() && now >= c.srv.waitDeadline(waitIdle, max(c.waitingSince, c.idleSince)):
		c.actions |= actionIdleCheck
	}
}

// closeIfIdle closes a connection that is still idle, without a response. If the read
// before it (actionIdleCheck) found the beginning of a request, it queues a turn.
func (c *conn) closeIfIdle() {
	if c.input.empty() && c.closeState == open && c.inputState == parsing && c.turn == turnIdle {
		c.inputState.moveTo(inputClosed)
		c.actions |= actionWake
		c.input.clear()
		return
	}
	c.queueTurn()
}

// firstOverdue returns the first exchange whose handler is past its deadline, or nil.
func (c *conn) firstOverdue(now int64) *exchange {
	for s := c.slots.head; s != nil; s = s.next {
		if x := s.exchange; !s.done && !x.expired && now >= x.deadline {
			return x
		}
	}
	return nil
}

// expire completes the slot of a handler that is past its deadline: the client gets 503
// in its place, and the responses after it can be sent.
func (c *conn) expire(x *exchange) {
	x.expired = true // the handler still uses x, so x is never recycled
	x.cancel()
	if x.committed {
		c.fail(errResponseTimeout) // a part of the response has been sent: only a reset says that the rest is missing
		c.reportServed(x, nil)
		return
	}
	if x.exclusive { // the handler may still read the body, and may never return
		c.inputState.moveTo(stuck)
	}
	c.slots.complete(&x.slot, x.errorResponse(errHandlerTimeout, x.exclusive || c.inputState == inputClosed && c.slots.tail == &x.slot))
	c.advance()
}

// rejectPartial answers an incomplete request. No driver does that, because
// checkDeadlines calls it; so it runs the exchange itself.
func (c *conn) rejectPartial(why *http1.StatusError) {
	x := c.newRequest(0, why)
	c.reserve(x)
	x.run()
	c.complete(x)
}
