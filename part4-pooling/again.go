package main

import "errors"

// Whether a call may be sent again depends on what became of it on its link.

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
