package client

import "errors"

// Whether a call may be sent again depends on what became of it on its link.

// MayRetry says whether a call that failed on l may be sent again: the
// connection ended before the head of an answer was whole. A kept one has most
// likely been closed without a look at the call. Most likely is enough for an
// idempotent call. For a POST it is not, unless the kernel took no byte of it;
// nor for a body that cannot be read a second time, and has been. A bad answer
// is an answer, and a timeout is no end: the server may be at work.
func (l *Link) MayRetry(c *Call, err error) bool {
	kept, unread := l.Uses > 1, c.Stream == nil || l.upload == nil
	return errors.Is(err, ErrEnded) && unread && (Idempotent(c.Method) || kept && l.sent == 0)
}

// Crossed says whether r is no answer to c but what some servers say as they
// close an idle connection, and met c on its way. Then the call may be sent
// again (RFC 9110 §15.5.9). Whoever may not is told what came.
func (l *Link) Crossed(c *Call, r *Answer) bool {
	kept := l.Uses > 1
	return kept && r.IdleEnd() && c.Stream == nil && Idempotent(c.Method)
}
