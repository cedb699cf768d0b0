package server

import (
	"bytes"

	"socketup/part4-pooling/http1"
)

var toHEAD = []byte("HEAD ")

// take takes the next request off what has arrived, for the driver to have it
// handled. nil says that there is none: more of it must arrive, or there is no
// room in the line, or a request has the connection for itself.
func (c *conn) take() *exchange {
	if c.end != open || c.intake != taking && c.intake != stalled {
		return nil
	}
	if full := c.full(); full != (c.intake == stalled) {
		if full {
			c.intake.to(stalled)
		} else {
			c.intake.to(taking)
		}
	}
	if c.intake == stalled {
		return nil
	}
	n, refused := c.head()
	if n == 0 && refused == nil {
		return nil
	}
	x := c.receive(n, refused)
	c.reserve(x)
	return x
}

func (c *conn) full() bool {
	return c.line.length >= c.srv.Limits.Pipeline || c.running >= c.srv.Limits.Pipeline
}

// head returns the length of the request head that in begins with, or 0 when
// it is not there to its end. Its time begins with its first byte. An empty line
// is no part of a head: a client that sends only those stays idle, and the third
// is refused.
func (c *conn) head() (int, *http1.Refusal) {
	if c.in.blank += c.in.skipEmptyLines(); c.in.blank > MaxEmpty {
		return 0, errEmpty
	}
	b, most := c.in.bytes(), c.srv.Limits.Head
	if c.in.looked == 0 && len(b) > 0 {
		c.since = c.srv.clock.now()
	}
	n := http1.FindHead(b, c.in.looked)
	switch {
	case n > most:
		return 0, http1.CheckPartial(b[:n], most)
	case n > 0:
		c.in.looked = 0
		return n, nil
	}
	c.in.looked = len(b)
	refused := http1.CheckPartial(b, most)
	if refused == nil && c.in.state == atEnd && len(b) > 0 {
		refused = errHeadEnded
	}
	return 0, refused
}

// receive makes an exchange of the first n bytes, or of why they are refused.
func (c *conn) receive(n int, refused *http1.Refusal) *exchange {
	c.since, c.in.blank = c.srv.clock.now(), 0
	x := newExchange(c)
	if x.refused = refused; refused == nil {
		x.head = append(x.head[:0], c.in.bytes()[:n]...) // the next one is read over it
		c.in.skip(n)
		x.read()
	} else if bytes.HasPrefix(c.in.bytes(), toHEAD) {
		x.req.Method = toHEAD[:4] // its answer has no body, however it would have gone on
	}
	x.last = x.last || x.refused != nil || c.srv.stopping.Load() && c.lastRead(x)
	x.alone = x.refused == nil && (x.barrier || x.req.Minor == 0)
	switch {
	case x.alone:
		c.intake.to(alone)
	case x.last:
		c.intake.to(over)
	}
	return x
}

// lastRead says whether x is the last request that its connection answers in a
// server that stops: no other has been read behind it. Its own body may look as if
// there was one, so a request with a body that begins after the last call is the
// last, whatever is behind it.
func (c *conn) lastRead(x *exchange) bool {
	stopped := c.srv.stopped.Load()
	return http1.FindHead(c.in.bytes(), 0) == 0 || x.req.Length != 0 && stopped != 0 && c.since >= stopped+int64(lastCall)
}

// reserve gives x its slot, before its handler is started.
func (c *conn) reserve(x *exchange) {
	c.running++
	c.stock.number++
	x.number = c.stock.number
	x.allot()
	c.line.reserve(&x.slot)
}

// pause ends a turn when there is nothing more to take. Half a request that came
// early must not delay an answer that is finished: the driver writes now.
func (c *conn) pause() {
	if c.turn == looking {
		c.turn.to(resting)
	}
	if c.intake == taking && c.in.state == atEnd {
		c.intake.to(over)
	}
	switch c.intake {
	case over:
		c.in.clear() // nothing behind the last request is looked at
	case taking:
		c.in.giveBack()
		if c.end == open && c.in.state != silent {
			c.asks |= askEvents
		}
	case stalled:
		c.in.giveBack()
	}
}

// takesMore says whether there is something to take, and room for it.
func (c *conn) takesMore() bool {
	return (c.intake == taking || c.intake == stalled) && c.end == open && !c.in.empty() && !c.full()
}

// yield ends a turn though there is more to take: the answers so far leave, and
// other connections have their turns before the next.
func (c *conn) yield() {
	c.turn.to(owed)
	c.asks |= askTurn
}
