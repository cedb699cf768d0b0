package pool

import (
	"context"
	"sync"
	"time"
)

// A waiter is a caller who waits for a link. He is in the queue until
// something is delivered to him or he goes away, and which of the two comes
// first is decided under the pool's lock, once: nothing is delivered to who has
// gone, and who has been delivered to takes it, even if he wanted to go. So no
// link can be lost between the two.
type waiter struct {
	backend    *backend
	ticket     uint64 // the smaller, the older
	queued     bool
	prev, next *waiter
	ready      chan grant // room for one
	timer      *time.Timer
}

// waiters is a queue that one can leave from the middle. The pool's lock guards it.
type waiters struct {
	first, last *waiter
	length      int
}

func (q *waiters) push(w *waiter) {
	w.prev, w.next, w.queued = q.last, nil, true
	if q.last == nil {
		q.first = w
	} else {
		q.last.next = w
	}
	q.last = w
	q.length++
}

func (q *waiters) remove(w *waiter) {
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

var spareWaiters = sync.Pool{New: func() any {
	w := &waiter{ready: make(chan grant, 1), timer: time.NewTimer(time.Hour)}
	w.timer.Stop()
	return w
}}

// enqueue puts a caller at the end of b's queue. With the lock held.
func (p *Pool) enqueue(b *backend) *waiter {
	w := spareWaiters.Get().(*waiter)
	p.tickets++
	w.backend, w.ticket = b, p.tickets
	b.queue.push(w)
	p.Waiting.Add(1)
	b.counts.Waited++
	return w
}

// deliver hands g to w. With the lock held.
func (p *Pool) deliver(w *waiter, g grant) {
	p.leave(w)
	w.ready <- g // there is room: nobody is delivered to twice
}

// leave takes w out of its queue. With the lock held.
func (p *Pool) leave(w *waiter) {
	w.backend.queue.remove(w)
	p.Waiting.Add(-1)
}

// await waits for what is delivered to w, as long as ctx and the pool allow.
func (p *Pool) await(ctx context.Context, w *waiter) (g grant) {
	if p.Limits.Wait > 0 {
		w.timer.Reset(p.Limits.Wait)
	}
	select {
	case g = <-w.ready:
	case <-ctx.Done():
		g = p.withdraw(w, context.Cause(ctx))
	case <-w.timer.C:
		g = p.withdraw(w, ErrWaitTimeout)
	}
	w.timer.Stop()
	spareWaiters.Put(w)
	return g
}

// withdraw takes w out of the queue, unless something has been delivered.
func (p *Pool) withdraw(w *waiter, why error) grant {
	p.mu.Lock()
	defer p.unlock()
	if !w.queued {
		return <-w.ready
	}
	p.leave(w)
	w.backend.counts.GaveUp++
	return grant{err: why}
}
