package client

import "errors"

// Whether a request may be sent again depends on what became of it on its connection.

// MayRetry says whether a request that failed on l may be sent again: the
// connection ended before the head of a response was whole. A kept one has most
// likely been closed without a look at the request. Most likely is enough for an
// idempotent request. For a POST it is not, unless the kernel took no byte of it;
// nor for a body that cannot be read a second time, and has been. A malformed response
// is a response, and a timeout is no end: the server may be at work.
func (l *Conn) MayRetry(c *Request, err error) bool {
	kept, unread := l.Requests > 1, c.Stream == nil || l.upload == nil
	return errors.Is(err, ErrEnded) && unread && (IsIdempotent(c.Method) || kept && l.bytesSent == 0)
}

// IsStale408 says whether r is no response to c but what some servers say as they
// close an idle connection, and met c on its way. Then the request may be sent
// again (RFC 9110 §15.5.9). Whoever may not is told what came.
func (l *Conn) IsStale408(c *Request, r *Response) bool {
	kept := l.Requests > 1
	return kept && r.IsIdleTimeout() && c.Stream == nil && IsIdempotent(c.Method)
}
