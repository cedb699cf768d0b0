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
