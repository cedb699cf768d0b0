package server

import (
	"bytes"

	"socketup/part3-pipelining/http1"
)

var headPrefix = []byte("HEAD ")

// takeRequest removes the next request from input and reserves its slot; the driver has it
// handled. It returns nil if there is none: the head is incomplete, the slot queue is
// full, a request has the connection to itself, or no more requests are accepted.
func (c *conn) takeRequest() *exchange {
	if c.closeState != open || c.inputState != parsing && c.inputState != stalled {
		return nil
	}
	switch {
	case c.inputState == stalled && !c.pipelineFull():
		c.inputState.moveTo(parsing)
	case c.inputState == parsing && c.slotsFull():
		c.inputState.moveTo(stalled)
	}
	if c.inputState == stalled {
		return nil
	}
	n, refused := c.scanHead()
	if n == 0 && refused == nil {
		return nil
	}
	credit, ok := c.takeCredit()
	if !ok {
		c.inputState.moveTo(stalled)
		return nil
	}
	x := c.newRequest(n, refused)
	x.credit = credit
	c.reserve(x)
	return x
}

// pipelineFull reports whether the slot queue or the memory budget (waitingmemory.go)
// leaves no room for another request.
func (c *conn) pipelineFull() bool { return c.slotsFull() || !c.mayWait() }

func (c *conn) slotsFull() bool {
	return c.slots.length >= c.srv.Limits.Pipeline || c.running >= c.srv.Limits.Pipeline
}

// scanHead returns the length of the request head at the start of input, or 0 if it is
// incomplete. Its time limit starts with its first byte. Empty lines before it do not
// count: a client that sends only those is idle, and the third is refused.
func (c *conn) scanHead() (int, *http1.StatusError) {
	if c.input.emptyLines += c.input.skipEmptyLines(); c.input.emptyLines > MaxEmptyLines {
		return 0, errEmptyLines
	}
	b, maxHead := c.input.bytes(), c.srv.Limits.Head
	if c.input.scanned == 0 && len(b) > 0 {
		c.waitingSince = c.srv.clock.now()
	}
	n := http1.HeadLength(b, c.input.scanned)
	switch {
	case n > maxHead:
		return 0, http1.CheckPartialHead(b[:n], 0, maxHead)
	case n > 0:
		c.input.scanned = 0
		return n, nil
	}
	refused := http1.CheckPartialHead(b, c.input.scanned, maxHead)
	c.input.scanned = len(b)
	if refused == nil && c.input.readState == atEOF && len(b) > 0 {
		refused = errHeadTruncated
	}
	return 0, refused
}

// newRequest returns an exchange for the head in the first n bytes of input or, if refused
// is not nil, for the error response.
func (c *conn) newRequest(n int, refused *http1.StatusError) *exchange {
	c.waitingSince, c.input.emptyLines = c.srv.clock.now(), 0
	x := newExchange(c)
	if x.err = refused; refused == nil {
		x.head = append(x.head[:0], c.input.bytes()[:n]...) // the next read may overwrite input
		c.input.skip(n)
		x.parse()
	} else if bytes.HasPrefix(c.input.bytes(), headPrefix) {
		x.req.Method = headPrefix[:4] // its error response must not have a body
	}
	x.closeAfter = x.closeAfter || x.err != nil || c.srv.stopping.Load() && c.isLastBeforeStop(x)
	x.exclusive = x.err == nil && (x.barrier || x.req.Minor == 0)
	switch {
	case x.exclusive:
		c.inputState.moveTo(exclusive)
	case x.closeAfter:
		c.inputState.moveTo(inputClosed)
	}
	c.beginServed(x) // not in reserve, which would no longer be inlined
	return x
}

// isLastBeforeStop reports whether x is the last request that its connection answers in a
// stopping server: its body is not complete in input, or no complete head follows it
// there. A body may look like a head, so it is decoded, in a copy of its decoder.
func (c *conn) isLastBeforeStop(x *exchange) bool {
	rest, body := c.input.bytes(), x.body.Decoder
	for x.req.Body != nil && !body.AtEnd() {
		_, used, refused := body.Decode(rest, len(rest))
		if used == 0 || refused != nil {
			return true
		}
		rest = rest[used:]
	}
	return http1.HeadLength(rest, 0) == 0
}

// reserve reserves the slot of x, before its handler starts.
func (c *conn) reserve(x *exchange) {
	c.running++
	c.exchanges.lastSeq++
	x.seq = c.exchanges.lastSeq
	x.startDeadline()
	c.slots.reserve(&x.slot)
}

// endTurn ends a turn. No more requests can be taken now: takeRequest has returned nil, or
// a request that has the connection to itself. The driver then writes what is ready: an
// incomplete request must not delay a complete response.
func (c *conn) endTurn() {
	if c.turn == turnActive {
		c.turn.moveTo(turnIdle)
	}
	if c.inputState == parsing && c.input.readState == atEOF {
		c.inputState.moveTo(inputClosed)
	}
	switch c.inputState {
	case inputClosed:
		c.input.clear() // input after the last request is ignored
	case parsing:
		c.input.releaseIfEmpty()
		if c.closeState == open && c.input.readState != wouldBlock {
			c.actions |= actionRearm
		}
	case stalled:
		c.input.releaseIfEmpty()
	}
}

// canTakeMore reports whether there is input to parse and room in the slot queue.
func (c *conn) canTakeMore() bool {
	return (c.inputState == parsing || c.inputState == stalled) && c.closeState == open && !c.input.empty() && !c.pipelineFull()
}

// yieldTurn ends a turn although there is more to take: the responses so far are written,
// and other connections have their turns before this one continues.
func (c *conn) yieldTurn() {
	c.turn.moveTo(turnQueued)
	c.actions |= actionTurn
}
