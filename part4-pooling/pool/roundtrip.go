package pool

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"socketup/part4-pooling/client"
)

// RoundTrip sends c to addr on a pooled connection. The caller must Close the
// response, which returns the connection to the pool.
//
// A server may close a kept connection just as we send, and no check beforehand
// can tell. Then RoundTrip tries once more, on a new connection, if the request
// may be repeated (client.Conn.MayRetry). An engine does the same
// (engine.resolveUnanswered). t.Total bounds both tries. The errors are those of
// Get and of client.Conn.RoundTrip.
func (p *Pool) RoundTrip(ctx context.Context, addr string, c *client.Request, t *client.Timeouts) (*client.Response, error) {
	return p.RoundTripReserved(ctx, p.Reserve(addr, netip.Addr{}, nil), c, t)
}

// RoundTripReserved is RoundTrip with a reservation, which it claims.
func (p *Pool) RoundTripReserved(ctx context.Context, at Reservation, c *client.Request, t *client.Timeouts) (*client.Response, error) {
	var until time.Time
	if t.Total > 0 {
		until = time.Now().Add(t.Total)
	}
	l, err := p.Claim(ctx, at, t)
	if err != nil {
		return nil, err
	}
	r, err := l.RoundTrip(ctx, c, t, until)
	crossed := err == nil && l.IsStale408(c, r)
	if crossed {
		r.Detach()
	}
	if crossed || err != nil && l.MayRetry(c, err) {
		if l, err = l.Redial(ctx, true, t); err != nil {
			return nil, err
		}
		r, err = l.RoundTrip(ctx, c, t, until)
	}
	switch {
	case errors.Is(err, ErrGiveBack): // c.OnInterim's
		l.GiveBack()
		return nil, err
	case err != nil:
		l.Release(errors.Is(err, client.ErrNotSent)) // ErrNotSent: the context ended first, and the connection is unused
		return nil, err
	}
	l.KeepAliveTimeout = r.KeepAliveTimeout
	return r, nil
}

// Redial closes l, counts it by l.Fault, and dials a new connection with its
// permit, so that no other caller can get ahead. again counts it as a retry.
// After an error the permit has been released; the errors are those of
// client.Dial and context.Cause(ctx). The caller must not use l afterwards.
func (l *Lease) Redial(ctx context.Context, again bool, t *client.Timeouts) (*Lease, error) {
	p := l.pool
	now := p.Now()
	p.mu.Lock()
	b := l.backend
	l.state = leaseClosed
	p.toClose = append(p.toClose, l)
	*b.counts.counterFor(l.Fault)++
	if again {
		b.counts.Retried++
	}
	p.quarantine(b, l.Fault, now)
	g := grant{generation: b.generation, holder: l.holder}
	p.grantWaiters(now)
	p.unlockAndClose()
	return p.dialPermitted(ctx, b, g, t)
}
