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
	nanos  atomic.Int64           // that the server has had
	date   atomic.Pointer[[]byte] // "Date: ...\r\n"
	last   time.Time              // of the ticks; watch's own, as is what follows
	second int64                  // that date is for
}

func newClock() *clock {
	c := &clock{last: time.Now()}
	c.tick(c.last, 0)
	return c
}

// now is a time in nanoseconds that the wall clock's steps are not in.
func (c *clock) now() int64 { return c.nanos.Load() }

// tick counts the time since the last tick, but not more than most: while a
// server is paused, or has no processor, its clients' time does not run out.
func (c *clock) tick(t time.Time, most time.Duration) {
	c.nanos.Add(int64(min(t.Sub(c.last), most)))
	c.last = t
	if s := t.Unix(); s != c.second {
		c.second = s
		line := t.UTC().AppendFormat([]byte("Date: "), http1.DateFormat+"\r\n")
		c.date.Store(&line)
	}
}

// watch ticks until the server has ended; serve waits for it.
func (s *Server) watch() {
	interval := min(max(s.Limits.shortest()/10, time.Millisecond), maxTick)
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case t := <-ticker.C:
			s.clock.tick(t, 2*interval)
			s.tick()
		case <-s.told:
			s.clock.tick(time.Now(), 2*interval) // what has passed by now is no part of the last call
			s.stopped.Store(s.clock.now())
			interval = min(interval, stopTick)
			ticker.Reset(interval)
		case <-s.ended:
			return
		}
	}
}

const (
	maxTick  = 250 * time.Millisecond // by which Date and all limits may be late
	stopTick = lastCall / 10          // of a server that stops: its last call is shorter than that
)
