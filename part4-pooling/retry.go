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
		if l, err = p.renew(ctx, l, true, t); err != nil {
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

// mayRetry says whether a call that failed on l may be sent again: the
// connection ended before the head of an answer was whole. A kept one has most
// likely been closed without a look at the call. Most likely is enough for an
// idempotent call. For a POST it is not, unless the kernel took no byte of it;
// nor for a body that cannot be read a second time, and has been. A bad answer
// is an answer, and a timeout is no end: the server may be at work.
func (l *link) mayRetry(c *call, err error) bool {
	kept, unread := l.uses > 1, c.stream == nil || l.upload == nil
	return errors.Is(err, ErrEnded) && unread && (idempotent(c.method) || kept && l.sent == 0)
}

// crossed says whether r is no answer to c but what some servers say as they
// close an idle connection, and met c on its way. Then the call may be sent
// again (RFC 9110 §15.5.9). Whoever may not is told what came.
func (l *link) crossed(c *call, r *answer) bool {
	kept := l.uses > 1
	return kept && r.idleEnd() && c.stream == nil && idempotent(c.method)
}

func (h *heading) idleEnd() bool { return h.status == 408 && h.close }

// release gives l back to its pool. One that has none is closed if it is of no
// use, and else stays with its caller.
func (l *link) release(good bool) {
	if l.pool != nil {
		l.pool.put(l, good)
	} else if !good {
		l.Close()
	}
}
