package pool

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"socketup/part4-pooling/client"
)

// RoundTrip makes a request on a pooled connection: the response's close gives it back.
//
// A kept connection may end just as we send, and nothing that is looked at
// before can tell. Then it is tried once more, on a fresh connection, if that
// can do no harm. An engine does the same (engine.go, resolveUnanswered).
func (p *Pool) RoundTrip(ctx context.Context, addr string, c *client.Request, t *client.Timeouts) (*client.Response, error) {
	return p.RoundTripReserved(ctx, p.Reserve(addr, netip.Addr{}, nil), c, t)
}

// RoundTripReserved is roundTrip for a caller who has a place, and claims it.
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
	if err != nil {
		l.Release(errors.Is(err, client.ErrNotSent)) // what was delivered to who had just left is for the next
		return nil, err
	}
	l.KeepAliveTimeout = r.KeepAliveTimeout
	return r, nil
}
