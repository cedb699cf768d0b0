package pool

import (
	"sync/atomic"
	"time"
)

// A Line is the sequence of one client connection's requests for connections to
// backends, in the order in which they arrived. The law:
//
//	A request takes a permit only when all earlier requests of its line have had theirs.
//
// The reason: a later request's response must wait for the earlier ones, and the request
// holds its permit meanwhile. If an earlier request of its line still waited for a
// permit, and a request of another line held that permit and waited in the same way,
// neither line could continue. Under the law a request with a permit waits only for its
// backend, for its client, and for earlier requests, which have had their permits: no
// request that holds a permit waits for one that has none. So there is no deadlock, in
// whatever order the pool grants. And only the head of a line is in a queue of the pool:
// a deep pipeline takes no more places than a client that sends one request at a time.
//
// A request that has had its permit may give it back and ask again (giveback.go).
//
// The pool's lock guards a line. Its zero value is ready.
type Line struct {
	newest    atomic.Uint64 // number of the newest waiting request; 0: none waits. Written with the lock held
	client    *account
	shares    []share
	head      *waiter   // in its backend's queue; nil: no request waits
	followers waitQueue // behind the head, in order
	asked     uint64    // requests so far
	suspended int       // of its requests, those that have given their connections back (giveback.go)
	resumedAt time.Time // when one of them last asked again
}

// Blocks reports whether a request of the line waits that is newer than the request with
// that number. If so, the next request must queue behind the waiting one, and must not use
// the connection of the older one.
func (l *Line) Blocks(number uint64) bool { return l.newest.Load() > number }

// number returns the number of the next request, or 0 if there is no line.
func (l *Line) number() uint64 {
	if l == nil {
		return 0
	}
	l.asked++
	return l.asked
}

// waits reports whether the next request of the line must wait for an earlier one.
func (l *Line) waits() bool { return l != nil && (l.head != nil || l.suspended > 0) }

// noteNewest updates newest after the line's waiters have changed.
func (l *Line) noteNewest() {
	switch {
	case l.followers.last != nil:
		l.newest.Store(l.followers.last.number)
	case l.suspended > 0:
		l.newest.Store(l.asked)
	case l.head != nil:
		l.newest.Store(l.head.number)
	default:
		l.newest.Store(0)
	}
}

// follow appends w to its line.
func (p *Pool) follow(w *waiter) {
	w.line.followers.push(w)
	w.backend.following++
	w.line.noteNewest()
}

// unfollow removes w from its line.
func (p *Pool) unfollow(w *waiter) {
	w.line.followers.remove(w)
	w.backend.following--
	w.line.noteNewest()
}

// promote moves the next waiter of l to the queue of its backend, after the head has
// left its own, unless l is suspended. A waiter for which that queue has no room fails,
// and the one after it is next.
func (p *Pool) promote(l *Line) {
	l.head = nil
	for l.head == nil && l.followers.first != nil && (l.suspended == 0 || p.closed) {
		w := l.followers.first
		p.unfollow(w)
		switch {
		case p.closed:
			w.ready <- grant{err: ErrClosed}
		case !p.enterQueue(w):
			w.backend.counts.TurnedAway++
			w.ready <- grant{err: ErrQueueFull}
		}
	}
	l.noteNewest()
}
