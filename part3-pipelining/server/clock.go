package server

import (
	"sync/atomic"
	"time"

	"socketup/part3-pipelining/http1"
)

// A clock is the server's time. One goroutine reads the system clock so that no other has
// to: at every tick it advances now, renders the Date field once a second, and checks
// every connection's deadlines. A request costs no timer and no call of time.Now; a
// limit may fire a tick late.
type clock struct {
	nanos      atomic.Int64           // nanoseconds that the server has run, without pauses
	date       atomic.Pointer[[]byte] // "Date: ...\r\n"
	lastTick   time.Time              // lastTick and dateSecond are used only by runClock
	dateSecond int64                  // the Unix second that date shows
}

func newClock() *clock {
	c := &clock{lastTick: time.Now()}
	c.advance(c.lastTick, 0)
	return c
}

// now returns nanoseconds since the server began. Steps of the wall clock do not show in it.
func (c *clock) now() int64 { return c.nanos.Load() }

// advance adds the time since the last tick, but at most maxStep: while the server is
// stopped (SIGSTOP) or gets no processor, its clients' time does not run out.
func (c *clock) advance(t time.Time, maxStep time.Duration) {
	c.nanos.Add(int64(min(t.Sub(c.lastTick), maxStep)))
	c.lastTick = t
	if s := t.Unix(); s != c.dateSecond {
		c.dateSecond = s
		line := t.UTC().AppendFormat([]byte("Date: "), http1.DateFormat+"\r\n")
		c.date.Store(&line)
	}
}

// runClock ticks until done is closed. Serve waits for it.
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
			s.clock.advance(time.Now(), 2*interval) // time before the stop does not count as drain time
			s.stoppedAt.Store(s.clock.now())
			interval = min(interval, stopTick)
			ticker.Reset(interval)
		case <-s.done:
			return
		}
	}
}

const (
	maxTick  = 250 * time.Millisecond // how late Date and every limit may be
	stopTick = drainIdleTime / 10     // the tick while the server drains, because drainIdleTime is shorter than maxTick
)
