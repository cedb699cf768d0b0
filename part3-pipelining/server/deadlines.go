package server

import (
	"errors"
	"math"

	"socketup/part3-pipelining/http1"
)

// Everything that somebody may take his time for has a limit (limits.go). No
// timer is set for it: a connection keeps the clock at which a wait began, or has
// to end, and the server's clock looks at all of them at every tick.

var (
	errHeadTimeout     = &http1.StatusError{Status: 408, Detail: "the request did not come in time"}
	errHandlerTimeout  = &http1.StatusError{Status: 503, Detail: "the handler did not answer in time"}
	errResponseTimeout = errors.New("a handler did not finish its answer in time")
	errWriteTimeout    = errors.New("the client did not take its answers in time")
)

const noDeadline = math.MaxInt64 // as the clock when something has to end

// startDeadline gives x's handler its time, from now on.
func (x *exchange) startDeadline() {
	x.deadline = x.conn.srv.clock.now() + int64(x.conn.srv.Limits.HandlerTime)
}

// checkDeadlines looks whether somebody's time is up. The server's clock calls it.
func (c *conn) checkDeadlines() {
	now := c.srv.clock.now()
	for x := c.firstOverdue(now); x != nil; x = c.firstOverdue(now) {
		c.expire(x)
	}
	switch {
	case c.closeState == closing || c.closeState == closed:
	case c.output.deadline != 0 && now >= c.output.deadline:
		c.fail(errWriteTimeout)
	case c.closeState == lingering:
		most := c.srv.Limits.LingerTime
		if c.srv.stopping.Load() && c.srv.atCapacity.Load() { // a queued client waits for this place
			most = min(most, drainIdleTime)
		}
		if now >= c.waitingSince+int64(most) {
			c.fail(nil)
		}
	case c.inputState == exclusive || c.inputState == stuck:
		c.actions |= actionWake // it looks itself
	case c.inputState == inputClosed || c.turn != turnIdle:
	case c.inputState == stalled && !c.pipelineFull(): // others have given memory back
		c.inputState.moveTo(parsing)
		c.queueTurn()
	case c.inputState == stalled: // if all is answered, then by handlers that hang
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

// closeIfIdle ends an idle connection, without a word; but not one whose next request
// has come, and the driver has not looked yet.
func (c *conn) closeIfIdle() {
	if c.input.empty() && c.closeState == open && c.inputState == parsing && c.turn == turnIdle {
		c.inputState.moveTo(inputClosed)
		c.actions |= actionWake
		c.input.clear()
		return
	}
	c.queueTurn()
}

// firstOverdue is a request whose handler did not answer in time.
func (c *conn) firstOverdue(now int64) *exchange {
	for s := c.slots.head; s != nil; s = s.next {
		if x := s.exchange; !s.done && !x.expired && now >= x.deadline {
			return x
		}
	}
	return nil
}

// expire ends a slot whose handler did not come back in time: it gets 503 in
// its turn, and those behind it go on.
func (c *conn) expire(x *exchange) {
	x.expired = true // the handler keeps x: it is not used again
	x.cancel()
	if x.committed {
		c.fail(errResponseTimeout) // half a response is out: all that is left is to break off
		return
	}
	if x.exclusive { // the handler may be at the body, and never come back
		c.inputState.moveTo(stuck)
	}
	c.slots.complete(&x.slot, x.errorResponse(errHandlerTimeout, x.exclusive || c.inputState == inputClosed && c.slots.tail == &x.slot))
	c.advance()
}

// rejectPartial answers what will never be a request, for somebody who is not the driver.
func (c *conn) rejectPartial(why *http1.StatusError) {
	x := c.newRequest(0, why)
	c.reserve(x)
	x.run()
	c.complete(x)
}
