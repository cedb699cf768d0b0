package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/socket"
)

// An exchange is one request and its response. The request leaves in the first wait for
// the head: ReadHead → waitForHead → waitRead → onReady → writeReady. One wait in the
// poller writes it and then reads. The head is read in responsehead.go, the body in
// response.go, and every wait is in wait.go.

// ErrNotSent means that the context ended before the request was sent. The
// connection is as it was.
var ErrNotSent = errors.New("nothing was sent")

// RoundTrip sends c and returns the response when its head has arrived. The caller must
// Close the response.
//
// until bounds the whole exchange, body included; the zero time is no bound.
// After an error there is no response, and the caller still holds the connection:
// it may call MayRetry, and must Release it as not good. The exception is
// ErrNotSent, after which the connection is as good as before. Other errors are
// those in request.go, http1.ErrBadResponse, and context.Cause(ctx).
func (l *Conn) RoundTrip(ctx context.Context, c *Request, t *Timeouts, until time.Time) (*Response, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s %s: %w: %w", c.Method, l.addr, ErrNotSent, context.Cause(ctx))
	}
	l.BeginExchange()
	l.encoded = c.AppendTo(l.encoded[:0])
	l.unsent = l.encoded
	r := &Response{ResponseHead: http1.ResponseHead{Fields: l.Fields}, Conn: l, Ctx: ctx, deadline: until, IdleTimeout: t.Idle, OnInterim: c.OnInterim, connAuthSent: c.ConnAuth}
	l.noReuse = c.HasUnexpectedBody()
	switch {
	case c.Stream == nil:
	case c.ExpectContinue:
		r.heldRequest, r.continueTimeout = c, t.ContinueWait
	default:
		r.startUpload(c)
	}
	if err := r.ReadHead(c.Method, t.Head); err != nil {
		r.Detach()
		return nil, fmt.Errorf("%s %s: %w", c.Method, l.addr, err)
	}
	return r, nil
}

// BeginExchange forgets the previous exchange: buffers, counts and errors.
func (l *Conn) BeginExchange() {
	l.Requests++
	l.HeadEnd, l.R, l.W = 0, 0, 0
	l.unsent, l.bytesSent, l.writeBlocked = nil, 0, false
	l.readErr, l.writeErr, l.upload = nil, nil, nil
}

// onReady is called by Go's poller each time the socket may be ready; it
// returns false to wait again. First it sends the request and asks to wait; when
// it is called again there is something to read. So an exchange waits once, and
// no read is wasted on a response that cannot have arrived. A response that
// arrives in between is not missed: RawConn.Read resets its readiness before it
// calls onReady, not after.
func (l *Conn) onReady(fd uintptr) bool {
	if len(l.unsent) > 0 && l.writeErr == nil {
		l.writeReady(fd)
		if l.writeErr == nil {
			return l.writeBlocked
		}
	} // read after a failed write too: the server may have responded before it closed
	n, err := socket.ReadNow(fd, l.Buf[l.W:])
	for err == unix.EINTR {
		n, err = socket.ReadNow(fd, l.Buf[l.W:])
	}
	if err == unix.EAGAIN {
		return false
	}
	l.W += max(n, 0)
	if l.readErr = err; err == nil && n == 0 {
		l.readErr = io.EOF
	}
	return true
}

// writeReady writes as much of unsent as the kernel accepts.
func (l *Conn) writeReady(fd uintptr) {
	for len(l.unsent) > 0 {
		n, err := socket.WriteNow(fd, l.unsent)
		if l.writeBlocked = err == unix.EAGAIN; l.writeBlocked {
			return
		} else if err != nil && err != unix.EINTR {
			l.writeErr = err
			return
		}
		l.unsent = l.unsent[max(n, 0):]
		l.bytesSent += max(n, 0)
	}
}

// writeRest waits until the kernel has accepted all of unsent, until the given time, or
// until the context is done. It is called only when the send buffer is full, so other
// requests do not pay for watching the context.
func (r *Response) writeRest(until time.Time) {
	l := r.Conn
	stop := context.AfterFunc(r.Ctx, l.haltWrites)
	n, err := l.Write(l.unsent, until)
	if !stop() { // haltWrites may still be about to run: nothing more is sent on this connection
		err = context.Cause(r.Ctx)
	}
	l.unsent, l.bytesSent, l.writeErr, l.writeBlocked = l.unsent[n:], l.bytesSent+n, err, false
}

// Write waits until the kernel has accepted all of b, or until the given time
// (zero: for ever), and returns how many bytes the kernel accepted. It sets the
// connection's write deadline for this write and clears it afterwards: a deadline
// that outlives its write would fail a later one, of another request.
func (l *Conn) Write(b []byte, until time.Time) (n int, err error) {
	l.SetWriteDeadline(until)
	if err = errWritesHalted; !l.writesHalted.Load() { // checked after the deadline is set; haltWrites does the reverse
		n, err = l.File.Write(b)
	}
	l.SetWriteDeadline(time.Time{})
	return n, err
}

// haltWrites ends the write in progress, and fails later ones until resumeWrites.
func (l *Conn) haltWrites() {
	l.writesHalted.Store(true)
	l.SetWriteDeadline(socket.LongAgo)
}

// resumeWrites undoes haltWrites. The caller knows that the writer has returned.
func (l *Conn) resumeWrites() {
	l.writesHalted.Store(false)
	l.SetWriteDeadline(time.Time{})
}

var errWritesHalted = errors.New("writing was stopped")

// makeRoom makes room in Buf after the unread bytes of the response.
func (l *Conn) makeRoom() {
	if l.R == l.W {
		l.R, l.W = l.HeadEnd, l.HeadEnd
	} else if l.W == len(l.Buf) {
		l.W = l.HeadEnd + copy(l.Buf[l.HeadEnd:], l.Buf[l.R:l.W])
		l.R = l.HeadEnd
	}
}
