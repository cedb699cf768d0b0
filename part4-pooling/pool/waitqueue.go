package pool

import (
	"context"
	"sync"
	"time"
)

// A waiter is a caller who waits for a connection. He is in the queue until
// something is delivered to him or he goes away, and which of the two comes
// first is decided under the pool's lock, once: nothing is delivered to who has
// gone, and who has been delivered to takes it, even if he wanted to go. So no
// connection can be lost between the two.
type waiter struct {
	backend    *backend
	holder            // who it is
	number     uint64 // in its line
	ticket     uint64 // the smaller, the older; since it is in the queue
	queued     bool   // or behind others of its line
	prev, next *waiter
	ready      chan grant // room for one
	timer      *time.Timer
}

// waitQueue is a queue that one can leave from the middle. The pool's lock guards it.
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

// enqueue puts a caller at the end of b's queue, or of its line if that has one who
// waits already. It returns nil if there is no room. With the lock held.
func (p *Pool) enqueue(b *backend, h holder, number uint64) *waiter {
	w := waiterPool.Get().(*waiter)
	w.backend, w.holder, w.number = b, h, number
	if h.line.waits() {
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

// enterQueue puts w at the end of its backend's queue, if there is room. With the lock held.
func (p *Pool) enterQueue(w *waiter) bool {
	b := w.backend
	if !p.mayQueue(b, w.holder) {
		return false
	}
	p.lastTicket++
	w.ticket = p.lastTicket
	b.queue.push(w)
	p.countQueued(w, 1)
	if w.line != nil {
		w.line.head = w
		w.line.noteNewest()
	}
	return true
}

// countQueued counts w in the queue, or out of it.
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
	w.ready <- g // there is room: nobody is delivered to twice
}

// dequeue takes w out of its queue, and lets in who was behind it in its line. With the lock held.
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

// wait waits for what is delivered to w, as long as ctx and the pool allow.
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
	w.holder = holder{}
	waiterPool.Put(w)
	return g
}

// giveUp takes w out of the queue, unless something has been delivered.
func (p *Pool) giveUp(w *waiter, why error) grant {
	now := p.Now()
	p.mu.Lock()
	defer p.unlockAndClose()
	if !w.queued {
		return <-w.ready
	}
	p.dequeue(w)
	w.backend.counts.GaveUp++
	p.grantWaiters(now) // to who was behind it
	return grant{err: why}
}
