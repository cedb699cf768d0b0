package client

import "errors"

// Whether a request may be sent again depends on how far it got on its connection.

// MayRetry reports whether c, which failed on l with err, may be sent again on
// another connection (RFC 9110 §9.2.2, RFC 9112 §9.3.1). It may if the connection
// ended before the response head was complete (ErrEnded), and
//
//   - c is idempotent; or l had carried a request before and the kernel accepted
//     no byte of c (a server that closes an idle connection has most likely not
//     read the request, but "most likely" is not enough for a POST); and
//   - no byte of a streamed body has been read: it cannot be read twice.
//
// A malformed response is a response, and a timeout is not the end of the
// connection: the server may still be working. Neither is retried.
func (l *Conn) MayRetry(c *Request, err error) bool {
	kept, unread := l.Requests > 1, c.Stream == nil || l.upload == nil
	return errors.Is(err, ErrEnded) && unread && (IsIdempotent(c.Method) || kept && l.bytesSent == 0)
}

// IsStale408 reports whether r is not a response to c but a 408 that the server
// sent when it closed the idle connection, and that crossed with c. Then c may
// be sent again (RFC 9110 §15.5.9). For a request that may not be repeated
// IsStale408 is false: r is its response.
func (l *Conn) IsStale408(c *Request, r *Response) bool {
	kept := l.Requests > 1
	return kept && r.IsIdleTimeout() && c.Stream == nil && IsIdempotent(c.Method)
}
