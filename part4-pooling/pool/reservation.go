package pool

import (
	"context"
	"fmt"

	"socketup/part4-pooling/client"
)

// A Reservation is a place in the order in which callers asked for a connection: a
// grant, or a place in the queue. The caller must Claim it exactly once, and may
// do so later. Callers that reserve in the right order and claim in any order
// cannot overtake each other (gateway/reserve.go says why that matters).
type Reservation struct {
	backend *backend
	grant   grant
	Waiter  *waiter // nil if the grant is ready
	Ticket  uint64  // the newest ticket at that time: waiters with larger ones came later
}

// Reserve reserves a connection to addr. It never waits.
func (p *Pool) Reserve(addr string) (at Reservation) {
	now := p.Now()
	p.mu.Lock()
	defer p.unlockAndClose()
	at.backend = p.backendFor(addr)
	if p.closed {
		at.grant.err = ErrClosed
		return at
	}
	var ok bool
	if at.grant, ok = p.tryAcquire(at.backend, now); !ok {
		at.Waiter = p.enqueue(at.backend)
	}
	at.Ticket = p.lastTicket
	p.grantWaiters(now) // tryAcquire may have retired more connections than it took
	return at
}

// Claim waits until the reservation becomes a connection. It returns what Get does.
func (p *Pool) Claim(ctx context.Context, at Reservation, t *client.Timeouts) (*Lease, error) {
	g := at.grant
	if at.Waiter != nil {
		g = p.wait(ctx, at.Waiter)
	}
	if g.err != nil {
		return nil, fmt.Errorf("connection to %s: %w", at.backend.addr, g.err)
	}
	return p.checkOrDial(ctx, at.backend, g, t)
}
