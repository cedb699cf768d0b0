package pool

import (
	"context"
	"fmt"
	"net/netip"

	"socketup/part4-pooling/client"
)

// A Reservation is a place in the order in which callers asked for a connection: a
// grant, or a place in the queue. The caller must Claim it exactly once, and may
// do so later. Callers that reserve in the right order and claim in any order
// cannot overtake each other in their line (line.go).
type Reservation struct {
	backend *backend
	grant   grant
	waiter  *waiter // nil if the grant is ready
	Number  uint64  // in its line
}

// Reserve reserves a connection to addr for a request of client, the next in line. It
// never waits. A request without a line has to wait for no other's. A caller without a
// client address, which is the program itself, may have all connections.
func (p *Pool) Reserve(addr string, client netip.Addr, line *Line) (at Reservation) {
	now := p.Now()
	p.mu.Lock()
	defer p.unlockAndClose()
	at.backend = p.backendFor(addr)
	if p.closed {
		at.grant.err = ErrClosed
		return at
	}
	h := p.holderFor(client, line)
	at.Number = line.number()
	if !line.waits() && p.mayTake(at.backend, h, 0, 0) {
		at.grant = p.take(at.backend, h, now)
	} else if at.waiter = p.enqueue(at.backend, h, at.Number, false); at.waiter == nil {
		at.grant.err = ErrQueueFull
	}
	p.grantWaiters(now) // take may have retired more connections than it took
	return at
}

// Claim waits until the reservation becomes a connection. It returns what Get does.
func (p *Pool) Claim(ctx context.Context, at Reservation, t *client.Timeouts) (*Lease, error) {
	g := at.grant
	if at.waiter != nil {
		g = p.wait(ctx, at.waiter)
	}
	if g.err != nil {
		return nil, fmt.Errorf("connection to %s: %w", at.backend.addr, g.err)
	}
	return p.checkOrDial(ctx, at.backend, g, t)
}
