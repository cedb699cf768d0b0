package server

import (
	"bytes"

	"socketup/part3-pipelining/http1"
)

var headPrefix = []byte("HEAD ")

// takeRequest takes the next request off what has arrived, for the driver to have it
// handled. nil says that there is none: more of it must arrive, or there is no
// room in the queue, or a request has the connection for itself.
func (c *conn) takeRequest() *exchange {
	if c.closeState != open || c.inputState != parsing && c.inputState != stalled {
		return nil
	}
	if full := c.pipelineFull(); full != (c.inputState == stalled) {
		if full {
			c.inputState.moveTo(stalled)
		} else {
			c.inputState.moveTo(parsing)
		}
	}
	if c.inputState == stalled {
		return nil
	}
	n, refused := c.scanHead()
	if n == 0 && refused == nil {
		return nil
	}
	x := c.newRequest(n, refused)
	c.reserve(x)
	return x
}

func (c *conn) pipelineFull() bool {
	return c.slots.length >= c.srv.Limits.Pipeline || c.running >= c.srv.Limits.Pipeline
}

// scanHead returns the length of the request head that in begins with, or 0 when
// it is not there to its end. Its time begins with its first byte. An empty line
// is no part of a head: a client that sends only those stays idle, and the third
// is refused.
func (c *conn) scanHead() (int, *http1.StatusError) {
	if c.input.emptyLines += c.input.skipEmptyLines(); c.input.emptyLines > MaxEmptyLines {
		return 0, errEmptyLines
	}
	b, most := c.input.bytes(), c.srv.Limits.Head
	if c.input.scanned == 0 && len(b) > 0 {
		c.waitingSince = c.srv.clock.now()
	}
	n := http1.HeadLength(b, c.input.scanned)
	switch {
	case n > most:
		return 0, http1.CheckPartialHead(b[:n], 0, most)
	case n > 0:
		c.input.scanned = 0
		return n, nil
	}
	refused := http1.CheckPartialHead(b, c.input.scanned, most)
	c.input.scanned = len(b)
	if refused == nil && c.input.readState == atEOF && len(b) > 0 {
		refused = errHeadTruncated
	}
	return 0, refused
}

// newRequest makes an exchange of the first n bytes, or of why they are refused.
func (c *conn) newRequest(n int, refused *http1.StatusError) *exchange {
	c.waitingSince, c.input.emptyLines = c.srv.clock.now(), 0
	x := newExchange(c)
	if x.err = refused; refused == nil {
		x.head = append(x.head[:0], c.input.bytes()[:n]...) // the next one is read over it
		c.input.skip(n)
		x.parse()
	} else if bytes.HasPrefix(c.input.bytes(), headPrefix) {
		x.req.Method = headPrefix[:4] // its response has no body, however it would have gone on
	}
	x.closeAfter = x.closeAfter || x.err != nil || c.srv.stopping.Load() && c.isLastBeforeStop(x)
	x.exclusive = x.err == nil && (x.barrier || x.req.Minor == 0)
	switch {
	case x.exclusive:
		c.inputState.moveTo(exclusive)
	case x.closeAfter:
		c.inputState.moveTo(inputClosed)
	}
	return x
}

// isLastBeforeStop says whether x is the last request that its connection answers in a
// server that stops: no other has been read behind it. Its own body may look as if
// there was one, so a request with a body that begins after the last call is the
// last, whatever is behind it.
func (c *conn) isLastBeforeStop(x *exchange) bool {
	stopped := c.srv.stoppedAt.Load()
	return http1.HeadLength(c.input.bytes(), 0) == 0 || x.req.Length != 0 && stopped != 0 && c.waitingSince >= stopped+int64(drainIdleTime)
}

// reserve gives x its slot, before its handler is started.
func (c *conn) reserve(x *exchange) {
	c.running++
	c.exchanges.lastSeq++
	x.seq = c.exchanges.lastSeq
	x.startDeadline()
	c.slots.reserve(&x.slot)
}

// endTurn ends a turn when there is nothing more to take. Half a request that came
// early must not delay a response that is finished: the driver writes now.
func (c *conn) endTurn() {
	if c.turn == turnActive {
		c.turn.moveTo(turnIdle)
	}
	if c.inputState == parsing && c.input.readState == atEOF {
		c.inputState.moveTo(inputClosed)
	}
	switch c.inputState {
	case inputClosed:
		c.input.clear() // nothing behind the last request is looked at
	case parsing:
		c.input.releaseIfEmpty()
		if c.closeState == open && c.input.readState != wouldBlock {
			c.actions |= actionRearm
		}
	case stalled:
		c.input.releaseIfEmpty()
	}
}

// canTakeMore says whether there is something to take, and room for it.
func (c *conn) canTakeMore() bool {
	return (c.inputState == parsing || c.inputState == stalled) && c.closeState == open && !c.input.empty() && !c.pipelineFull()
}

// yieldTurn ends a turn though there is more to take: the responses so far leave, and
// other connections have their turns before the next.
func (c *conn) yieldTurn() {
	c.turn.moveTo(turnQueued)
	c.actions |= actionTurn
}
