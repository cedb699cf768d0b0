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
// The request at the head of a queue needs no credit. So every connection goes on, with
// one request at a time if need be, and nothing fails: the reader stops, as it does when
// the queue is full, and the client's next requests stay in the kernel.
//
// Law: a connection may have as much as it leaves to others, and no more. One that asks
// alone gets half of the budget; among n, each gets a part in n + 1, and the part that
// is left is for the next that connects.
//
// A stalled connection is not told when others give credit back. It looks whenever one of
// its own responses leaves, and at every tick of the clock.
type memoryBudget struct {
	used        atomic.Int64 // bytes of credit in hand, of all connections
	wasHigh     bool         // more than half was out since the last collection; the clock's own, as is what follows
	collect     int          // ticks that are to collect garbage
	nextCollect int64        // the clock before which it is too early to do so again
}

// slotMemory is how many bytes a request and its response hold at most while they wait: the
// head, the response as written and as it will leave, and what the handler keeps.
func (l *Limits) slotMemory() int64 { return int64(l.Head + 2*maxBuffered + l.HandlerMemory) }

// ProcessMemory is how many bytes all connections can hold at most, if busy of them have
// a request under way or a response that their client does not read; bodies that
// handlers keep (Body) come on top. Idle connections hold nothing. Go's collector may
// let the heap grow to twice that (GOGC) before it is collected.
func (l *Limits) ProcessMemory(busy int) int64 {
	one := readBufferSize + l.slotMemory() + 2*(writeBufferSize+maxBuffered)
	return l.WaitingMemory + int64(min(busy, l.Connections))*one
}

// WaitingMemory is how many bytes of the budget are out.
func (s *Server) WaitingMemory() int64 { return s.memory.used.Load() }

// mayWait says whether the next request of c may wait behind those that c has.
func (c *conn) mayWait() bool {
	return c.slots.length == 0 || c.waitingMemory+c.srv.Limits.slotMemory() <= c.srv.Limits.WaitingMemory-c.srv.memory.used.Load()
}

// takeCredit is mayWait, and takes the credit.
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

// keepCredit gives back what of x's credit is more than most.
func (c *conn) keepCredit(x *exchange, most int64) {
	if back := x.credit - most; back > 0 {
		x.credit -= back
		c.waitingMemory -= back
		c.srv.memory.used.Add(-back)
	}
}

// shrinkCredit is for x, whose response is whole and waits for its turn.
func (c *conn) shrinkCredit(x *exchange) {
	if c.srv.memoryIsScarce() {
		x.res.body = nil // it is in encoded too
	}
	c.keepCredit(x, int64(cap(x.head)+cap(x.encoded)+cap(x.res.body)+cap(x.res.FieldLines)))
}

// dropLarge frees the large buffers of x, which is to be used again, while memory is scarce.
func (x *exchange) dropLarge(s *Server) {
	const large = 4 << 10
	if max(cap(x.head), cap(x.encoded), cap(x.res.body)) > large && s.memoryIsScarce() {
		x.head, x.encoded, x.res.body = nil, nil, nil
	}
}

func (s *Server) memoryIsScarce() bool { return s.memory.used.Load() > s.Limits.WaitingMemory/2 }

// releaseToOS gives memory back to the kernel when a crowd has gone: Go would keep it for
// minutes, and sync.Pool for two collections. The clock calls it at every tick.
func (s *Server) releaseToOS() {
	const often = int64(10 * time.Second) // a crowd that comes and goes must not keep the collector busy
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
		b.nextCollect = s.clock.now() + often
	}
}
