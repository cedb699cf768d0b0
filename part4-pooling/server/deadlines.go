package server

import (
	"errors"
	"math"

	"socketup/part4-pooling/http1"
)

// Everything that somebody may take his time for has a limit (limits.go). No
// timer is set for it: a connection keeps the clock at which a wait began, or has
// to end, and the server's clock looks at all of them at every tick.

var (
	errHeadSlow    = &http1.Refusal{Status: 408, Reason: "the request did not come in time"}
	errLate        = &http1.Refusal{Status: 503, Reason: "the handler did not answer in time"}
	errHandlerSlow = errors.New("a handler did not finish its answer in time")
	errWriteSlow   = errors.New("the client did not take its answers in time")
)

const noLimit = math.MaxInt64 // as the clock when something has to end

// allot gives x's handler its time, from now on.
func (x *exchange) allot() {
	if x.due = noLimit; !x.untimed {
		x.due = x.c.srv.clock.now() + int64(x.c.srv.Limits.HandlerTime)
	}
}

// untime is for a handler all of whose waits have limits of their own, with
// answers that say which: handlerTime would only say that something took long.
func (x *exchange) untime() {
	x.c.t.mu.Lock()
	defer x.c.t.mu.Unlock()
	x.untimed = true
	x.allot()
}

// tick looks whether somebody's time is up. The server's clock calls it.
func (c *conn) tick() {
	now := c.srv.clock.now()
	for x := c.late(now); x != nil; x = c.late(now) {
		c.expire(x)
	}
	switch {
	case c.end == dead || c.end == closed:
	case c.out.until != 0 && now >= c.out.until:
		c.fail(errWriteSlow)
	case c.end == lingering:
		most := c.srv.Limits.LingerTime
		if c.srv.stopping.Load() && c.srv.crowded.Load() { // a queued client waits for this place
			most = min(most, lastCall)
		}
		if now >= c.since+int64(most) {
			c.fail(nil)
		}
	case c.intake == alone || c.intake == lost:
		c.asks |= askWake // it looks itself
	case c.intake == over || c.turn != resting:
	case c.intake == stalled: // if all is answered, then by handlers that hang
		if c.written() && now >= c.srv.until(waitIdle, c.answered) {
			c.intake.to(over)
			c.asks |= askWake
		}
	case !c.in.empty():
		if now >= c.srv.until(waitHead, c.since) {
			c.refuse(errHeadSlow)
		}
	case c.written() && now >= c.srv.until(waitIdle, max(c.since, c.answered)):
		c.asks |= askLook
	}
}

// looked ends an idle connection, without a word; but not one whose next request
// has come, and the driver has not looked yet.
func (c *conn) looked() {
	if c.in.empty() && c.end == open && c.intake == taking && c.turn == resting {
		c.intake.to(over)
		c.asks |= askWake
		c.in.clear()
		return
	}
	c.resume()
}

// late is a request whose handler did not answer in time.
func (c *conn) late(now int64) *exchange {
	for s := c.line.head; s != nil; s = s.behind {
		if x := s.owner; !s.done && !x.expired && now >= x.due {
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
	if x.begun {
		c.fail(errHandlerSlow) // half an answer is out: all that is left is to break off
		return
	}
	if x.alone { // the handler may be at the body, and never come back
		c.intake.to(lost)
	}
	c.line.finish(&x.slot, x.plain(errLate, x.alone || c.intake == over && c.line.tail == &x.slot))
	c.advance()
}

// refuse answers what will never be a request, for somebody who is not the driver.
func (c *conn) refuse(why *http1.Refusal) {
	x := c.receive(0, why)
	c.reserve(x)
	x.answer()
	c.finish(x)
}
