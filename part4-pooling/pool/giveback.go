package pool

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// Work or give back: a request whose response waits for its turn gives its connection to
// a caller that waits for one.
//
// A response that is longer than a slot holds its connection until all earlier responses
// of its client are complete. That can take a minute, in which the connection does
// nothing: 2 clients that each send GET /sleep/60s and 31 requests for long files, 3 kB,
// hold half of the connections, and the holders wait for nothing but each other. So:
//
//  1. A request that has waited for its turn for longer than Limits.Spare gives its
//     connection back, if a caller of another line waits that can then have one. The
//     connection is closed: the rest of a response may still arrive on it.
//  2. The line of that request takes no further connection until its turn has come: their
//     responses could only wait too. Nor does the time of its callers run out meanwhile.
//  3. When its turn has come the request asks again, ahead of all others of its line.
//     Those that still have a connection then give theirs back too, for the turn of their
//     responses comes after its own.
//  4. A caller for which one holder was told to give back counts for no other holder, until
//     the first has closed its connection: then it is served, or it counts again. Without
//     this, of three engines that were overdue in the same tick two gave back for one caller
//     in every twentieth run.
//
// By 3 there is still no deadlock (line.go): whatever a request without a connection waits
// for has a backend at work, a client that is served, or a holder that gives back.
//
//	a caller waits for such a connection for at most  Spare + the server's tick (250 ms)
//	a request is sent for this reason                 once more: after its turn has come it waits for no other
//
// The holder asks the pool, not the other way round, and only at a tick of its wait: a
// request that need not wait for its turn does nothing for this.

// ErrGiveBack is the error of a holder that ends an exchange because ShouldGiveBack told it
// to. If Request.OnInterim returns it, RoundTripReserved gives the connection back.
var ErrGiveBack = errors.New("the response waits for its turn, and others wait for the connection")

// ShouldGiveBack reports whether the holder of l must give it back: if a caller of another
// line could use it and waited is more than Limits.Spare, or if an earlier request of this
// line asks again (rules 1 and 3). waited is how long the holder has waited for its turn. If
// true, the holder must end the exchange, and the lease with GiveBack, or Release if its
// client has gone.
func (l *Lease) ShouldGiveBack(waited time.Duration) bool {
	p := l.pool
	if p.queued.Load() == 0 || l.line == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mustGiveBack(l, waited)
}

// GiveBack ends the lease of a holder that ShouldGiveBack has told to: it closes l for other
// callers, and suspends its line. The holder must call ReserveAgain when its turn has come or
// its client has gone.
func (l *Lease) GiveBack() {
	p := l.pool
	now := p.Now()
	p.mu.Lock()
	defer p.unlockAndClose()
	p.suspend(l.line)
	p.retire(l, &l.backend.counts.GivenBack)
	p.grantWaiters(now)
}

// mustGiveBack reports whether a holder that has waited for its turn must give l back. With
// the lock held.
func (p *Pool) mustGiveBack(l *Lease, waited time.Duration) bool {
	if l.line.head != nil && l.line.head.again { // rule 3
		return true
	}
	if p.Limits.Spare == 0 || waited <= p.Limits.Spare {
		return false
	}
	p.charge(l.backend, l.holder, -1)
	helped := p.nextToServe(l.line)
	p.charge(l.backend, l.holder, 1)
	if helped != nil {
		helped.pledge = l // rule 4
	}
	return helped != nil
}

// isPledged reports whether a connection is about to be given back for w. With the lock held.
func (w *waiter) isPledged() bool { return w.pledge != nil && w.pledge.state == leaseHeld }

// suspend keeps the requests of line from taking permits, until a call of resume for each
// call of suspend. With the lock held.
func (p *Pool) suspend(line *Line) {
	line.suspended++
	p.suspended[line] = true
	if w := line.head; w != nil && !w.again { // the first of the line leaves its backend's queue
		w.backend.queue.remove(w)
		p.countQueued(w, -1)
		line.head = nil
		line.followers.insert(w)
		w.backend.following++
	}
	line.noteNewest()
}

// resume undoes suspend. With the lock held.
func (p *Pool) resume(line *Line, now time.Time) {
	if line.suspended--; line.suspended == 0 {
		delete(p.suspended, line)
	}
	line.resumedAt = now
}

// ReserveAgain reserves a connection for a request that has given its own back. first is
// its earlier reservation; client and line are those that it was made for. The caller must
// claim the reservation, as any other.
func (p *Pool) ReserveAgain(first Reservation, client netip.Addr, line *Line) (at Reservation) {
	now := p.Now()
	p.mu.Lock()
	defer p.unlockAndClose()
	b := first.backend
	at.backend, at.Number = b, first.Number
	p.resume(line, now)
	h := p.holderFor(client, line)
	switch {
	case p.closed:
		at.grant.err = ErrClosed
	case line.head != nil: // another request of the line asks again: only one can have its turn, so the client has gone
		at.grant.err = context.Canceled
	case p.mayTake(b, h, 0, 0):
		at.grant = p.take(b, h, now)
	default:
		if at.waiter = p.enqueue(b, h, at.Number, true); at.waiter == nil {
			at.grant.err = ErrQueueFull
		}
	}
	if line.head == nil {
		p.promote(line)
	}
	p.grantWaiters(now)
	return at
}

// patience returns how much longer w may wait although MaxWait has passed: the time does
// not count in which its line was suspended.
func (p *Pool) patience(w *waiter) time.Duration {
	now := p.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !w.queued || w.line == nil:
		return 0
	case w.line.suspended > 0 && w.line.head != w:
		return p.Limits.MaxWait
	case w.line.resumedAt.IsZero():
		return 0
	}
	return w.line.resumedAt.Add(p.Limits.MaxWait).Sub(now)
}
