package pool

import "sync/atomic"

// A Line is the requests of one client connection, in the order in which they came,
// as far as they want connections to backends. The law:
//
//	A request takes a permit only when all before it in its line have had theirs.
//
// Why: the response of a later request waits for its turn, and holds its permit
// meanwhile. If an earlier one of its line still waited for a permit, and that was held in
// another line by one that waits in the same way, the two lines would wait
// for each other. With the law who has a permit waits for its backend, for its
// client, and for those before it, who have theirs too: nobody that holds a
// permit waits for somebody that waits for one. So there is no circle, in
// whatever order the pool grants; and only the head of a line is in a queue of the pool, so a
// deep pipeline takes no more places than a client that asks for one thing at a time.
//
// The pool's lock guards a line. Its zero value is ready.
type Line struct {
	newest    atomic.Uint64 // number of the last one that waits, of those asked; 0: none does. Changed with the lock held
	client    *account
	shares    []share
	head      *waiter   // in its backend's queue; nil: nobody waits
	followers waitQueue // behind the head, in order
	asked     uint64    // requests, so far
}

// Blocks says whether a request of the line waits that asked after the one with that
// number. What comes next must not have the connection of that one: it asks, behind those that wait.
func (l *Line) Blocks(number uint64) bool { return l.newest.Load() > number }

// number gives a request its number; 0 without a line.
func (l *Line) number() uint64 {
	if l == nil {
		return 0
	}
	l.asked++
	return l.asked
}

// waits says whether a request of the line waits.
func (l *Line) waits() bool { return l != nil && l.head != nil }

// noteNewest is for a line whose waiters have changed.
func (l *Line) noteNewest() {
	switch {
	case l.followers.last != nil:
		l.newest.Store(l.followers.last.number)
	case l.head != nil:
		l.newest.Store(l.head.number)
	default:
		l.newest.Store(0)
	}
}

// follow puts w at the end of its line.
func (p *Pool) follow(w *waiter) {
	w.line.followers.push(w)
	w.backend.following++
	w.line.noteNewest()
}

// unfollow takes w out of its line.
func (p *Pool) unfollow(w *waiter) {
	w.line.followers.remove(w)
	w.backend.following--
	w.line.noteNewest()
}

// promote lets the next of a line into the queue of its backend, when the head has left.
func (p *Pool) promote(l *Line) {
	l.head = nil
	for l.head == nil && l.followers.first != nil {
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
