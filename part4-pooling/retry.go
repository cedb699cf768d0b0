package main

import (
	"context"
	"errors"
	"time"
)

// roundTrip makes a call on a pooled link: the answer's close gives it back.
//
// A kept connection may end just as we send, and nothing that is looked at
// before can tell. Then it is tried once more, on a fresh connection, if that
// can do no harm. An engine does the same (engine.go, settle).
func (p *pool) roundTrip(ctx context.Context, addr string, c *call, t *timeouts) (*answer, error) {
	return p.roundTripAt(ctx, p.ask(addr), c, t)
}

// roundTripAt is roundTrip for a caller who has a place, and claims it.
func (p *pool) roundTripAt(ctx context.Context, at place, c *call, t *timeouts) (*answer, error) {
	var until time.Time
	if t.total > 0 {
		until = time.Now().Add(t.total)
	}
	l, err := p.claim(ctx, at, t)
	if err != nil {
		return nil, err
	}
	r, err := l.roundTrip(ctx, c, t, until)
	crossed := err == nil && l.crossed(c, r)
	if crossed {
		r.detach()
	}
	if crossed || err != nil && l.mayRetry(c, err) {
		if l, err = l.renew(ctx, true, t); err != nil {
			return nil, err
		}
		r, err = l.roundTrip(ctx, c, t, until)
	}
	if err != nil {
		l.release(errors.Is(err, errNotBegun)) // what was delivered to who had just left is for the next
		return nil, err
	}
	l.keep = r.keep
	return r, nil
}
