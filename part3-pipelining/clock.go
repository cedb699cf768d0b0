package main

import (
	"sync/atomic"
	"time"
)

// One goroutine looks at the clock so that no other has to. At every tick it
// notes the time, renders the Date field once a second, and walks over the
// connections to see whose time is up. A request costs no timer and no
// time.Now; a limit may be late by a tick.
type clock struct {
	started time.Time
	nanos   atomic.Int64           // since started: steps of the wall clock are not in it
	date    atomic.Pointer[[]byte] // "Date: ...\r\n"
	second  int64                  // that date is for; watch's own
}

const dateFormat = "Mon, 02 Jan 2006 15:04:05 GMT" // RFC 9110 §5.6.7

func newClock() *clock {
	c := &clock{started: time.Now()}
	c.tick(c.started)
	return c
}

// now is the time in nanoseconds since the clock was started.
func (c *clock) now() int64 { return c.nanos.Load() }

func (c *clock) tick(t time.Time) {
	c.nanos.Store(int64(t.Sub(c.started)))
	if s := t.Unix(); s != c.second {
		c.second = s
		line := t.UTC().AppendFormat([]byte("Date: "), dateFormat+"\r\n")
		c.date.Store(&line)
	}
}

// watch ticks until the server has ended; serve waits for it.
func (s *server) watch() {
	ticker := time.NewTicker(min(max(s.limits.shortest()/10, time.Millisecond), maxTick))
	defer ticker.Stop()
	for {
		select {
		case t := <-ticker.C:
			s.clock.tick(t)
			s.each((*conn).check)
		case <-s.ended:
			return
		}
	}
}

const maxTick = 250 * time.Millisecond // by which Date and all limits may be late

const noDeadline = 1<<63 - 1 // as a time of the clock

// allot gives x's handler its time, from now on. With c.mu held.
func (x *exchange) allot() { x.due = x.c.srv.clock.now() + int64(x.c.srv.limits.handlerTime) }

// check looks whether somebody's time is up.
func (c *conn) check() {
	now := c.srv.clock.now()
	if until := c.readUntil.Load(); until != 0 && now >= until {
		c.nudge()
	}
	if until := c.writeUntil.Load(); until != 0 && now >= until {
		c.SetWriteDeadline(longAgo)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := c.line.head; s != nil; s = s.behind {
		if x := s.owner; !s.done && !x.expired && now >= x.due {
			c.expire(x)
			return // the line has changed; the others at the next tick
		}
	}
}

var errLate = &refusal{503, "the handler did not answer in time"}

// expire ends a slot whose handler did not come back in time: it gets 503 in
// its turn, and those behind it go on. With c.mu held.
func (c *conn) expire(x *exchange) {
	x.expired = true // the handler keeps x: it is not used again
	x.cancel()
	if x.begun {
		c.kill(errHandlerSlow) // half an answer is out: all that is left is to break off
	} else {
		c.line.finish(&x.slot, x.plain(errLate, x.holds))
		c.advance()
	}
	lost := x.holds // the token, with its holder
	go func() {     // ends when the client has taken the answer, or writeTime is over
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.flush(); lost {
			c.end(true)
		}
	}()
}
