package server

import (
	"runtime/debug"
	"sync/atomic"
	"time"
)

// A request behind another one of its connection waits for its turn, and so does its
// response. 500 connections with a slow request and 31 responses of 32 KiB behind it
// held 1.3 GB. So the process has one budget for all that waits, -waiting-memory:
//
//	takeRequest  a request behind another starts only with credit for all that it may hold
//	complete     its response is whole: it keeps credit for what it really holds
//	recycle      its slot has left the queue: the rest goes back
//
// The request at the head of a queue needs no credit. So every connection makes progress,
// one request at a time if it must, and no request fails: the server stops reading, as
// it does when the queue is full, and the client's next requests stay in the kernel.
//
// Law: a connection has no more credit than it leaves to all others. A connection that is
// alone gets half of the budget; n connections get 1/(n+1) each, and 1/(n+1) is left for
// the next one.
//
// Returned credit wakes no other connection. A stalled connection checks the budget when
// one of its own responses leaves, and at every tick of the clock.
type memoryBudget struct {
	used        atomic.Int64 // bytes of credit that all connections have
	wasHigh     bool         // more than half was in use since the last collection; only the clock uses this field and the next two
	collect     int          // garbage collections to run, one at each tick
	nextCollect int64        // the clock when garbage may be collected again
}

// slotMemory is the largest number of bytes that a request and its response hold while
// they wait: the head, the response as written and as encoded, and what the handler keeps.
func (l *Limits) slotMemory() int64 { return int64(l.Head + 2*maxBuffered + l.HandlerMemory) }

// ProcessMemory returns the largest number of bytes that all connections hold when busy of
// them have a request in progress, or a response that their client does not read. Idle
// connections hold no buffer. Not included are bodies that handlers keep (Body), and
// garbage: the heap may grow to twice this size before Go collects it (GOGC).
func (l *Limits) ProcessMemory(busy int) int64 {
	one := readBufferSize + l.slotMemory() + 2*(writeBufferSize+maxBuffered)
	return l.WaitingMemory + int64(min(busy, l.Connections))*one
}

// WaitingMemory returns how many bytes of Limits.WaitingMemory are in use.
func (s *Server) WaitingMemory() int64 { return s.memory.used.Load() }

// mayWait reports whether the next request of c would get credit (takeCredit).
func (c *conn) mayWait() bool {
	return c.slots.length == 0 || c.waitingMemory+c.srv.Limits.slotMemory() <= c.srv.Limits.WaitingMemory-c.srv.memory.used.Load()
}

// takeCredit takes credit for the next request of c. It returns false if the law leaves
// none.
func (c *conn) takeCredit() (credit int64, ok bool) {
	if c.slots.length == 0 {
		return 0, true
	}
	credit = c.srv.Limits.slotMemory()
	if used := c.srv.memory.used.Add(credit); c.waitingMemory > c.srv.Limits.WaitingMemory-used {
		c.srv.memory.used.Add(-credit)
		return 0, false
	}
	c.waitingMemory += credit
	return credit, true
}

// returnCredit returns the credit of x to the budget, except for keep bytes.
func (c *conn) returnCredit(x *exchange, keep int64) {
	if back := x.credit - keep; back > 0 {
		x.credit -= back
		c.waitingMemory -= back
		c.srv.memory.used.Add(-back)
	}
}

// shrinkCredit leaves x, whose response is complete and waits for its turn, the credit for
// the bytes that it holds, and returns the rest.
func (c *conn) shrinkCredit(x *exchange) {
	if c.srv.memoryIsScarce() {
		x.res.body = nil // encoded contains it
	}
	c.returnCredit(x, int64(cap(x.head)+cap(x.encoded)+cap(x.res.body)+cap(x.res.FieldLines)))
}

// dropLarge frees the large buffers of x before x is used again, if memory is scarce.
func (x *exchange) dropLarge(s *Server) {
	const large = 4 << 10
	if max(cap(x.head), cap(x.encoded), cap(x.res.body)) > large && s.memoryIsScarce() {
		x.head, x.encoded, x.res.body = nil, nil, nil
	}
}

func (s *Server) memoryIsScarce() bool { return s.memory.used.Load() > s.Limits.WaitingMemory/2 }

// releaseToOS returns memory to the kernel when most waiting requests have left: Go would
// keep it for minutes, and a sync.Pool for two collections. The clock calls it at every
// tick.
func (s *Server) releaseToOS() {
	const pause = int64(10 * time.Second) // a load that rises and falls must not keep the collector busy
	b, used := &s.memory, s.memory.used.Load()
	switch {
	case used > s.Limits.WaitingMemory/2:
		b.wasHigh = true
	case b.wasHigh && used <= s.Limits.WaitingMemory/8 && s.clock.now() >= b.nextCollect:
		b.wasHigh, b.collect = false, 2
	}
	if b.collect > 0 {
		b.collect--
		debug.FreeOSMemory()
		b.nextCollect = s.clock.now() + pause
	}
}
