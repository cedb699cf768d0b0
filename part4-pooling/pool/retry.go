package pool

import (
	"context"
	"errors"
	"time"

	"socketup/part4-pooling/client"
)

// RoundTrip makes a call on a pooled link: the answer's close gives it back.
//
// A kept connection may end just as we send, and nothing that is looked at
// before can tell. Then it is tried once more, on a fresh connection, if that
// can do no harm. An engine does the same (engine.go, settle).
func (p *Pool) RoundTrip(ctx context.Context, addr string, c *client.Call, t *client.Timeouts) (*client.Answer, error) {
	return p.RoundTripAt(ctx, p.Ask(addr), c, t)
}

// RoundTripAt is roundTrip for a caller who has a place, and claims it.
func (p *Pool) RoundTripAt(ctx context.Context, at Place, c *client.Call, t *client.Timeouts) (*client.Answer, error) {
	var until time.Time
	if t.Total > 0 {
		until = time.Now().Add(t.Total)
	}
	l, err := p.Claim(ctx, at, t)
	if err != nil {
		return nil, err
	}
	r, err := l.RoundTrip(ctx, c, t, until)
	crossed := err == nil && l.Crossed(c, r)
	if crossed {
		r.Detach()
	}
	if crossed || err != nil && l.MayRetry(c, err) {
		if l, err = l.Renew(ctx, true, t); err != nil {
			return nil, err
		}
		r, err = l.RoundTrip(ctx, c, t, until)
	}
	if err != nil {
		l.Release(errors.Is(err, client.ErrNotBegun)) // what was delivered to who had just left is for the next
		return nil, err
	}
	l.Keep = r.Keep
	return r, nil
}
