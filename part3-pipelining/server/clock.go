package server

import (
	"sync/atomic"
	"time"

	"socketup/part3-pipelining/http1"
)

// One goroutine looks at the clock so that no other has to. At every tick it
// notes the time, renders the Date field once a second, and walks over the
// connections to see whose time is up. A request costs no timer and no
// time.Now; a limit may be late by a tick.
type clock struct {
	nanos      atomic.Int64           // that the server has had
	date       atomic.Pointer[[]byte] // "Date: ...\r\n"
	lastTick   time.Time              // of the ticks; watch's own, as is what follows
	dateSecond int64                  // that date is for
}

func newClock() *clock {
	c := &clock{lastTick: time.Now()}
	c.advance(c.lastTick, 0)
	return c
}

// now is a time in nanoseconds that the wall clock's steps are not in.
func (c *clock) now() int64 { return c.nanos.Load() }

// advance counts the time since the last tick, but not more than most: while a
// server is paused, or has no processor, its clients' time does not run out.
func (c *clock) advance(t time.Time, most time.Duration) {
	c.nanos.Add(int64(min(t.Sub(c.lastTick), most)))
	c.lastTick = t
	if s := t.Unix(); s != c.dateSecond {
		c.dateSecond = s
		line := t.UTC().AppendFormat([]byte("Date: "), http1.DateFormat+"\r\n")
		c.date.Store(&line)
	}
}

// runClock ticks until the server has ended; serve waits for it.
func (s *Server) runClock() {
	interval := min(max(s.Limits.shortest()/10, time.Millisecond), maxTick)
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case t := <-ticker.C:
			s.clock.advance(t, 2*interval)
			s.checkDeadlines()
			s.releaseToOS()
		case <-s.stopRequested:
			s.clock.advance(time.Now(), 2*interval) // what has passed by now is no part of the last call
			s.stoppedAt.Store(s.clock.now())
			interval = min(interval, stopTick)
			ticker.Reset(interval)
		case <-s.done:
			return
		}
	}
}

const (
	maxTick  = 250 * time.Millisecond // by which Date and all limits may be late
	stopTick = drainIdleTime / 10     // of a server that stops: its last call is shorter than that
)
