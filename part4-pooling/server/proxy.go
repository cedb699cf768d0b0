package server

import (
	"context"
	"net/netip"
	"sync/atomic"
	"time"

	"socketup/part4-pooling/http1"
)

// This file has the methods of Response and Body that only a gateway uses, that is, handlers
// and offloaders that forward requests to another server: ClientAddr, Wanted and Context
// (who the client is, and whether it still waits), Attachment and SetHandlerData (what an
// offloader keeps for later), WriteInterim (RFC 9110 §15.2), WriteTrailers (§6.5), Abort
// and Complete (how a response ends), and CancelRead.

// An Attachment is what an offloader keeps with a connection until the client is gone.
type Attachment interface {
	// OnClientGone is called once if the connection fails; never after a normal close. The
	// connection's lock is held: it must not block, or call a method of a Response.
	OnClientGone()
}

// Attachment returns the attachment of w's connection. The first call creates it with
// create. Only an offloader may call it, because a connection runs one offloader call at
// a time.
func (w *Response) Attachment(create func() Attachment) Attachment {
	t := w.x.conn.transport
	if t.attachment == nil {
		g := create()
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.attachment = g; t.err != nil { // the connection failed before it had the attachment
			g.OnClientGone()
		}
	}
	return t.attachment
}

// SetHandlerData stores v for the handler of this request. Only an offloader that will
// return false may call it.
func (w *Response) SetHandlerData(v any) { w.x.handlerData = v }

// TakeHandlerData returns what SetHandlerData stored, and nil after the first call or if
// there is nothing.
func (w *Response) TakeHandlerData() (v any) {
	v, w.x.handlerData = w.x.handlerData, nil
	return v
}

// DisableTimeout exempts this request from Limits.HandlerTime. Use it if each wait of the
// handler has a limit of its own, and a response that names it.
func (w *Response) DisableTimeout() { w.x.disableTimeout() }

// ClientAddr returns the address that the client's connection came from (accept(2)).
func (w *Response) ClientAddr() netip.Addr { return w.x.conn.peer }

// Room returns how many bytes of body the next Write takes without blocking.
func (w *Response) Room() int { return maxBuffered - len(w.body) }

// Committed reports whether a part of the response has been sent, or queued to be: it can
// no longer be replaced.
func (w *Response) Committed() bool { return w.x.committed }

// Wanted reports whether the client still waits for the response: the connection has not
// failed, and Limits.HandlerTime has not passed. Any goroutine may call it while the response
// is being written.
func (w *Response) Wanted() bool { return w.x.wanted() }

// ClientGone reports whether the connection has failed, for example by a reset.
func (w *Response) ClientGone() bool { return w.x.conn.transport.isClientGone() }

func (t *transport) isClientGone() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err != nil
}

// Reset discards the status, fields and body, as far as they have not been sent. Use it
// only if Committed is false. It leaves alone what Wanted reads, perhaps on another goroutine.
func (w *Response) Reset() {
	w.Status, w.FieldLines, w.body = 0, w.FieldLines[:0], w.body[:0]
	w.hasLength, w.length, w.bytesWritten = false, 0, 0
	w.headFlushed, w.chunked = false, false
}

// Abort closes the connection in the middle of the response, so that the client sees that
// it is incomplete (RFC 9112 §8).
func (w *Response) Abort() { w.x.abort() }

// Complete ends the response to an offloaded request. w and its request must not be used
// afterwards. Complete writes to the client only when many bytes are queued; if it
// returns a Flusher, the caller must call its Flush when it has no more responses to
// complete. Otherwise it returns nil.
func (w *Response) Complete() Flusher {
	x := w.x
	x.encoded = w.finish(x.encoded[:0])
	if unwritten := x.complete(); unwritten != nil {
		return unwritten
	}
	return nil
}

// WriteInterim sends b, the complete head of a 1xx response (RFC 9110 §15.2). It blocks
// until the earlier responses are complete, as Write does, and does nothing if this response
// has begun. The response is not Committed by it: there may be any number of interim
// responses, so the caller may begin again. It must not use WriteInterim for an HTTP/1.0
// client.
func (w *Response) WriteInterim(b []byte) error {
	t := w.x.conn.transport
	t.mu.Lock()
	defer t.mu.Unlock()
	// What an engine has completed, and not flushed yet, does not wait with this response.
	t.runActions()
	if err := t.waitUntilFirst(w.x); err != nil || w.x.committed { // the client would read it as a part of the response
		return err
	}
	t.output.enqueue(b)
	t.runActions()
	return t.err
}

// WriteTrailers ends the response with trailers (RFC 9112 §7.1.2). If it has no body or
// cannot be chunked, because the client speaks HTTP/1.0 or the length was declared, it
// drops them. An error means that the client will not receive the rest.
func (w *Response) WriteTrailers(trailers []http1.Field) error {
	if len(trailers) == 0 || w.hasLength || w.bodiless() {
		return nil
	}
	if err := w.Flush(); err != nil || !w.chunked {
		return err
	}
	w.chunked = false // finish must not add the last chunk again
	x := w.x
	x.encoded = append(x.encoded[:0], "0\r\n"...)
	for _, f := range trailers {
		x.encoded = append(append(append(append(x.encoded, f.Name...), ": "...), f.Value...), "\r\n"...)
	}
	x.encoded = append(x.encoded, "\r\n"...)
	return x.conn.transport.stream(x, x.encoded)
}

// CancelRead makes a Read that waits for the client, and every later Read that would wait,
// return a 408 error. It is called from another goroutine than Read.
func (b *Body) CancelRead() {
	t := b.x.conn.transport
	t.mu.Lock()
	defer t.mu.Unlock()
	b.readCanceled = true
	t.actions |= actionWake
	t.runEventActions()
}

// RestoreRead undoes CancelRead, when no goroutine is in Read. It clears the 408 that
// CancelRead caused, because the client is not at fault: the handler's response is sent,
// and then the connection closes, as the rest of the body was not read.
func (b *Body) RestoreRead() {
	t := b.x.conn.transport
	t.mu.Lock()
	stopped := b.readCanceled
	b.readCanceled = false
	t.mu.Unlock()
	if !stopped {
		return
	}
	if b.err == errBodyTimeout {
		b.err = nil
	}
	b.awaitsContinue = true // makes discard return false instead of reading the rest
}

// Context returns a context that ends when the response is no longer wanted: with
// context.Canceled if the connection has failed, or with context.DeadlineExceeded if
// Limits.HandlerTime has passed. Every call for a request returns the same context. It
// does not end after the handler has returned.
func (w *Response) Context() context.Context {
	t := w.x.conn.transport
	t.mu.Lock()
	defer t.mu.Unlock()
	if w.x.context == nil {
		w.x.context = &clientContext{t: t}
		if t.err != nil || w.x.expired {
			w.x.context.end(w.x.expired)
		}
	}
	return w.x.context
}

// A clientContext implements Context. It refers to no exchange, because package context may
// use it after the handler has returned and the exchange belongs to another request.
type clientContext struct {
	t         *transport
	done      chan struct{}         // created by Done, because most requests never wait for long; guarded by the lock
	err       atomic.Pointer[error] // set once, before done is closed. Without the lock, because end's caller has it when afterFunc calls Err
	afterFunc func()                // called once by end, with the lock held; nil for none; guarded by the lock
}

// end ends c, unless it has ended. The caller holds the lock.
func (c *clientContext) end(expired bool) {
	why := &context.Canceled
	if expired {
		why = &context.DeadlineExceeded
	}
	if !c.err.CompareAndSwap(nil, why) {
		return
	}
	if c.done != nil {
		close(c.done)
	}
	if c.afterFunc != nil {
		c.afterFunc()
		c.afterFunc = nil
	}
}

func (c *clientContext) Done() <-chan struct{} {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.Err() != nil {
			close(c.done)
		}
	}
	return c.done
}

func (c *clientContext) Err() error {
	if why := c.err.Load(); why != nil {
		return *why
	}
	return nil
}

// AfterFunc implements the interface that context.AfterFunc looks for. Without it, each
// wait for a backend would cost a goroutine. It supports one function at a time.
func (c *clientContext) AfterFunc(wake func()) (stop func() bool) {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	if c.Err() != nil {
		go wake() // ends at once
		return func() bool { return false }
	}
	c.afterFunc = wake
	return func() bool {
		c.t.mu.Lock()
		defer c.t.mu.Unlock()
		waits := c.afterFunc != nil
		c.afterFunc = nil
		return waits
	}
}

func (c *clientContext) Deadline() (time.Time, bool) { return time.Time{}, false }
func (c *clientContext) Value(any) any               { return nil }
