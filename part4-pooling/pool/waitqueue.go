package pool

import (
	"context"
	"sync"
	"time"
)

// A waiter is a caller that waits for a connection. It is queued until a grant is
// delivered to it or it gives up, and the pool's lock decides once which of the
// two comes first: nothing is delivered to a caller that has given up, and a
// caller that was delivered to takes the grant, even if it wanted to give up. So no
// connection is lost between the two.
type waiter struct {
	backend    *backend
	ticket     uint64 // smaller is older
	queued     bool
	prev, next *waiter
	ready      chan grant // capacity 1: deliver never blocks
	timer      *time.Timer
}

// A waitQueue is a FIFO queue from which a waiter can be removed at any position.
// The pool's lock guards it.
type waitQueue struct {
	first, last *waiter
	length      int
}

func (q *waitQueue) push(w *waiter) {
	w.prev, w.next, w.queued = q.last, nil, true
	if q.last == nil {
		q.first = w
	} else {
		q.last.next = w
	}
	q.last = w
	q.length++
}

func (q *waitQueue) remove(w *waiter) {
	if w.prev == nil {
		q.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		q.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
	q.length--
}

var waiterPool = sync.Pool{New: func() any {
	w := &waiter{ready: make(chan grant, 1), timer: time.NewTimer(time.Hour)}
	w.timer.Stop()
	return w
}}

// grantWaiters grants what has become free to the waiting callers, in the order of
// their tickets. With the lock held.
func (p *Pool) grantWaiters(now time.Time) {
	for p.Waiting.Load() > 0 {
		b := p.nextToServe()
		if b == nil {
			return
		}
		g, ok := p.tryAcquire(b, now)
		if !ok {
			return
		}
		p.deliver(b.queue.first, g)
	}
}

// nextToServe returns the backend of the longest waiting caller that could be
// served now. Callers for a backend that is at its own limit do not hold up the
// others.
func (p *Pool) nextToServe() (eldest *backend) {
	room := p.permits < p.Limits.Total || p.hasIdle()
	for _, b := range p.backendList {
		w := b.queue.first
		if w != nil && (len(b.idle) > 0 || room && b.permits < p.Limits.PerBackend) && (eldest == nil || w.ticket < eldest.queue.first.ticket) {
			eldest = b
		}
	}
	return eldest
}

func (p *Pool) hasIdle() bool {
	for _, b := range p.backendList {
		if len(b.idle) > 0 {
			return true
		}
	}
	return false
}

// evictForOther retires an idle connection, so that another backend can have its
// permit: of each backend's least recently used one, that which expires first. With
// the lock held.
func (p *Pool) evictForOther() bool {
	var oldest *backend
	for _, b := range p.backendList {
		if len(b.idle) > 0 && (oldest == nil || b.idle[0].expires.Before(oldest.idle[0].expires)) {
			oldest = b
		}
	}
	if oldest == nil {
		return false
	}
	l := oldest.idle[0]
	oldest.idle = append(oldest.idle[:0], oldest.idle[1:]...)
	p.retire(l, &oldest.counts.Displaced)
	return true
}

// enqueue appends a caller to b's queue. With the lock held.
func (p *Pool) enqueue(b *backend) *waiter {
	w := waiterPool.Get().(*waiter)
	p.lastTicket++
	w.backend, w.ticket = b, p.lastTicket
	b.queue.push(w)
	p.Waiting.Add(1)
	b.counts.Waited++
	return w
}

// deliver hands g to w. With the lock held.
func (p *Pool) deliver(w *waiter, g grant) {
	p.dequeue(w)
	w.ready <- g // never blocks: each waiter gets one grant
}

// dequeue removes w from its queue. With the lock held.
func (p *Pool) dequeue(w *waiter) {
	w.backend.queue.remove(w)
	p.Waiting.Add(-1)
}

// wait waits until a grant is delivered to w, or ctx is done, or MaxWait has
// passed.
func (p *Pool) wait(ctx context.Context, w *waiter) (g grant) {
	if p.Limits.MaxWait > 0 {
		w.timer.Reset(p.Limits.MaxWait)
	}
	select {
	case g = <-w.ready:
	case <-ctx.Done():
		g = p.giveUp(w, context.Cause(ctx))
	case <-w.timer.C:
		g = p.giveUp(w, ErrWaitTimeout)
	}
	w.timer.Stop()
	waiterPool.Put(w)
	return g
}

// giveUp removes w from the queue, unless a grant has already been delivered.
func (p *Pool) giveUp(w *waiter, why error) grant {
	p.mu.Lock()
	defer p.unlockAndClose()
	if !w.queued {
		return <-w.ready
	}
	p.dequeue(w)
	w.backend.counts.GaveUp++
	return grant{err: why}
}
