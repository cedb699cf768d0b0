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
	ticket     uint64 // the smaller, the older
	queued     bool
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

// enqueue puts a caller at the end of b's queue. With the lock held.
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
	w.ready <- g // there is room: nobody is delivered to twice
}

// dequeue takes w out of its queue. With the lock held.
func (p *Pool) dequeue(w *waiter) {
	w.backend.queue.remove(w)
	p.Waiting.Add(-1)
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
	waiterPool.Put(w)
	return g
}

// giveUp takes w out of the queue, unless something has been delivered.
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
