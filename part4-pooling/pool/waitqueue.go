package pool

import (
	"context"
	"sync"
	"time"
)

// A waiter is a caller that waits for a connection. It is queued until the pool delivers
// a grant to it or it gives up, and the pool's lock decides once which of the two happens
// first: the pool delivers nothing to a caller that has given up, and a caller takes the
// grant that was delivered, even if it was about to give up. So no connection is lost
// between the two.
type waiter struct {
	backend    *backend
	holder            // that its permit will be charged to
	number     uint64 // in its line
	ticket     uint64 // smaller has been in the queue for longer
	queued     bool   // in its backend's queue, or behind others of its line
	again      bool   // its request has given a connection back, and its turn has come (giveback.go)
	pledge     *Lease // whose holder was last told to give it back for this caller; nil for none
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

// insert puts w after the waiters with smaller tickets. It passes few of them: a new caller
// has the largest ticket, and is appended; a follower that becomes the head of its line has
// one of the smallest.
func (q *waitQueue) insert(w *waiter) {
	if q.last == nil || q.last.ticket < w.ticket {
		q.push(w)
		return
	}
	next := q.first
	for next.ticket < w.ticket {
		next = next.next
	}
	w.prev, w.next, w.queued = next.prev, next, true
	if next.prev == nil {
		q.first = w
	} else {
		next.prev.next = w
	}
	next.prev = w
	q.length++
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

// grantWaiters grants free permits and idle connections to the waiting callers that leave
// as much (share.go), in the order of their tickets. With the lock held.
func (p *Pool) grantWaiters(now time.Time) {
	if p.queued.Load() == 0 && !p.anyWanted {
		return
	}
	for p.queued.Load() > 0 {
		w := p.nextToServe(nil)
		if w == nil {
			break
		}
		p.deliver(w, p.take(w.backend, w.holder, now))
	}
	p.noteWanted()
}

// nextToServe returns the longest waiting caller that could be served now. If except is not
// nil it is not of that line, and no holder was told to give a connection back for it.
// Callers for a backend that is at its own limit, and those whose client has used up its
// share, do not hold up the others. Queues are bounded, and so is this walk.
func (p *Pool) nextToServe(except *Line) (eldest *waiter) {
	for _, b := range p.backendList {
		if b.inUse == p.Limits.PerBackend {
			continue
		}
		w := b.queue.first
		for w != nil && (!p.mayTake(b, w.holder, 0, 0) || except != nil && (w.line == except || w.isPledged())) {
			w = w.next
		}
		if w != nil && (eldest == nil || w.ticket < eldest.ticket) {
			eldest = w
		}
	}
	return eldest
}

// displaceIdle retires an idle connection, of which there must be one, so that another
// backend can have its permit: of each backend's least recently used connection, the one
// that expires first. With the lock held.
func (p *Pool) displaceIdle() {
	var oldest *backend
	for _, b := range p.backendList {
		if len(b.idle) > 0 && (oldest == nil || b.idle[0].expires.Before(oldest.idle[0].expires)) {
			oldest = b
		}
	}
	l := oldest.idle[0]
	oldest.idle = append(oldest.idle[:0], oldest.idle[1:]...)
	p.retire(l, &oldest.counts.Displaced)
}

// enqueue appends a caller to b's queue, or to its line if an earlier request of the
// line waits. A caller that asks again (giveback.go) is ahead of its line. enqueue returns nil if
// the queue has no room. With the lock held.
func (p *Pool) enqueue(b *backend, h holder, number uint64, again bool) *waiter {
	w := waiterPool.Get().(*waiter)
	p.lastTicket++
	w.backend, w.holder, w.number, w.ticket, w.again = b, h, number, p.lastTicket, again
	if !again && h.line.waits() {
		p.follow(w)
	} else if !p.enterQueue(w) {
		w.holder = holder{}
		waiterPool.Put(w)
		b.counts.TurnedAway++
		return nil
	}
	b.counts.Waited++
	return w
}

// enterQueue appends w to its backend's queue and returns true, if there is room. With
// the lock held.
func (p *Pool) enterQueue(w *waiter) bool {
	b := w.backend
	if !p.mayQueue(b, w.holder) {
		return false
	}
	b.queue.insert(w)
	p.countQueued(w, 1)
	if w.line != nil {
		w.line.head = w
		w.line.noteNewest()
	}
	return true
}

// countQueued adds n to the counts that include w: 1 when it enters the queue, -1 when
// it leaves. With the lock held.
func (p *Pool) countQueued(w *waiter, n int) {
	p.queued.Add(int64(n))
	if w.client != nil {
		shareOf(&w.client.shares, w.backend).waiting += n
		w.client.waiting.Add(int64(n))
	}
}

// deliver hands g to w. With the lock held.
func (p *Pool) deliver(w *waiter, g grant) {
	p.dequeue(w)
	w.ready <- g // never blocks: each waiter gets one grant
}

// dequeue removes w from its line if it is a follower. Otherwise it removes w from its
// backend's queue, and the next request of the line enters one. With the lock held.
func (p *Pool) dequeue(w *waiter) {
	if w.line != nil && w.line.head != w {
		p.unfollow(w)
		return
	}
	w.backend.queue.remove(w)
	p.countQueued(w, -1)
	if w.line != nil {
		p.promote(w.line)
	}
}

// wait waits until a grant is delivered to w, or ctx is done, or MaxWait has
// passed.
func (p *Pool) wait(ctx context.Context, w *waiter) (g grant) {
	if p.Limits.MaxWait > 0 {
		w.timer.Reset(p.Limits.MaxWait)
	}
	for waiting := true; waiting; {
		waiting = false
		select {
		case g = <-w.ready:
		case <-ctx.Done():
			g = p.giveUp(w, context.Cause(ctx))
		case <-w.timer.C:
			if more := p.patience(w); more > 0 {
				w.timer.Reset(more)
				waiting = true
			} else {
				g = p.giveUp(w, ErrWaitTimeout)
			}
		}
	}
	w.timer.Stop()
	w.holder, w.pledge = holder{}, nil
	waiterPool.Put(w)
	return g
}

// giveUp removes w from the queue, unless a grant has already been delivered.
func (p *Pool) giveUp(w *waiter, why error) grant {
	now := p.Now()
	p.mu.Lock()
	defer p.unlockAndClose()
	if !w.queued {
		return <-w.ready
	}
	p.dequeue(w)
	w.backend.counts.GaveUp++
	p.grantWaiters(now) // the next of its line may have entered a queue
	return grant{err: why}
}
