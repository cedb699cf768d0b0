package server

import (
	"runtime/debug"
	"sync/atomic"
	"time"
)

// A request behind another one of its connection waits until the earlier responses are
// sent, and so does its response. 500 connections, each with a slow request and 31
// responses of 32 KiB behind it, held 1.3 GB. So the process has one budget for all that
// waits, -waiting-memory:
//
//	takeRequest  starts a request behind another only with credit for all that it may hold
//	complete     its response is complete: it keeps credit for what it holds, and returns the rest
//	recycle      its slot has left the queue: it returns all its credit
//
// The request at the head of a queue needs no credit. So every connection makes progress,
// with one request at a time if need be, and no request fails: the server stops reading, as
// it does when the slot queue is full, and the client's next requests stay in the kernel.
//
// Law: a connection takes credit only if it leaves at least as much unused as it has
// already. So the only connection that asks gets half of the budget; if n ask, each gets
// one part in n+1, and the last part is left for the next connection.
//
// A stalled connection is not told when other connections return credit. It checks whenever
// one of its own responses is sent, and at every tick of the clock.
type memoryBudget struct {
	used        atomic.Int64 // bytes of credit that connections hold
	wasHigh     bool         // more than half was used since the last collection. Only runClock uses wasHigh, collect and nextCollect
	collect     int          // ticks that are still to collect garbage
	nextCollect int64        // the clock before which no collection begins
}

// slotMemory returns the most bytes that a request and its response hold while they wait:
// the head, the response as the handler wrote it and as encoded, and what the handler
// keeps.
func (l *Limits) slotMemory() int64 { return int64(l.Head + 2*maxBuffered + l.HandlerMemory) }

// ProcessMemory returns the most bytes that all connections can hold if at most busy of them
// have an unanswered request, or a response that the client has not read; bodies that
// handlers keep (Body) are not included. Idle connections hold nothing. Go may let the heap
// grow to twice that (GOGC) before it collects garbage.
func (l *Limits) ProcessMemory(busy int) int64 {
	one := readBufferSize + l.slotMemory() + 2*(writeBufferSize+maxBuffered)
	return l.WaitingMemory + int64(min(busy, l.Connections))*one
}

// mayWait reports whether the next request of c may wait behind those that c has.
func (c *conn) mayWait() bool {
	return c.slots.length == 0 || c.waitingMemory+c.srv.Limits.slotMemory() <= c.srv.Limits.WaitingMemory-c.srv.memory.used.Load()
}

// takeCredit takes the credit for the next request of c. ok is false if the request may not
// wait (mayWait): then it takes none.
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

// returnCredit returns the credit of x, except for keep bytes.
func (c *conn) returnCredit(x *exchange, keep int64) {
	if surplus := x.credit - keep; surplus > 0 {
		x.credit -= surplus
		c.waitingMemory -= surplus
		c.srv.memory.used.Add(-surplus)
	}
}

// shrinkCredit returns the credit that x does not need any more. Its response is complete,
// and waits for earlier ones.
func (c *conn) shrinkCredit(x *exchange) {
	if c.srv.memoryIsScarce() {
		x.res.body = nil // encoded holds a copy
	}
	c.returnCredit(x, int64(cap(x.head)+cap(x.encoded)+cap(x.res.body)+cap(x.res.FieldLines)))
}

// dropLarge frees the large buffers of x, which is about to be reused, if memory is scarce.
func (x *exchange) dropLarge(s *Server) {
	const large = 4 << 10 // bytes
	if max(cap(x.head), cap(x.encoded), cap(x.res.body)) > large && s.memoryIsScarce() {
		x.head, x.encoded, x.res.body = nil, nil, nil
	}
}

func (s *Server) memoryIsScarce() bool { return s.memory.used.Load() > s.Limits.WaitingMemory/2 }

// releaseToOS returns memory to the kernel when most of the credit has been returned: Go
// would keep it for minutes, and sync.Pool for two collections. runClock calls it at every
// tick.
func (s *Server) releaseToOS() {
	const pause = int64(10 * time.Second) // between collections: clients that come and go must not keep the collector busy
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
