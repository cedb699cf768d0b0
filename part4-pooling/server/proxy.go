package server

import (
	"context"
	"net/netip"
	"time"

	"socketup/part4-pooling/http1"
)

// This file is what handlers and offloaders need that forward requests to another server,
// such as a gateway: the client's address and whether it is gone, a context that ends
// with it, interim responses (RFC 9110 §15.2), trailers (§6.5), and truncation.

// An Attachment is what an offloader keeps with a connection until the client is gone.
type Attachment interface {
	OnClientGone() // the connection has failed. Called once at most, never after a normal close, and with the connection locked: it must not block
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

// Committed reports whether a part of the response has been sent, or queued to be: it can
// no longer be replaced.
func (w *Response) Committed() bool { return w.x.committed }

// Wanted reports whether the client still waits for the response: the connection has not
// failed, and Limits.HandlerTime has not passed.
func (w *Response) Wanted() bool { return w.x.wanted() }

// ClientGone reports whether the connection has failed, for example by a reset.
func (w *Response) ClientGone() bool { return w.x.conn.transport.isClientGone() }

func (t *transport) isClientGone() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err != nil
}

// Reset discards the status, fields and body, as far as they have not been sent. Use it
// only if Committed is false.
func (w *Response) Reset() {
	*w = Response{x: w.x, FieldLines: w.FieldLines[:0], body: w.body[:0]}
}

// Abort closes the connection in the middle of the response, so that the client sees that
// it is incomplete (RFC 9112 §8).
func (w *Response) Abort() { w.x.abort() }

// Complete ends the response to an offloaded request. w and its request must not be used
// afterwards. Complete writes to the client only when many bytes are queued; if it
// returns a connection that is not nil, the caller must call its Flush when it has no
// more responses to complete.
func (w *Response) Complete() (owed *transport) {
	x := w.x
	x.encoded = w.finish(x.encoded[:0])
	return x.complete()
}

// WriteInterim sends b, the complete head of a 1xx response (RFC 9110 §15.2). It blocks
// until the earlier responses are complete, and does nothing if this response has begun.
// The caller must not use it for an HTTP/1.0 client.
func (w *Response) WriteInterim(b []byte) error {
	t := w.x.conn.transport
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.waitForTurn(w.x); err != nil || w.x.committed { // the client would read it as a part of the response
		return err
	}
	t.output.enqueue(b)
	t.runActions()
	return t.err
}

// WriteTrailers ends the response with trailers (RFC 9112 §7.1.2). If it has no body or
// cannot be chunked, because the client speaks HTTP/1.0 or the length was declared, it
// drops them. It returns ErrGaveUp or nil: a failed connection shows in Wanted.
func (w *Response) WriteTrailers(trailers []http1.Field) error {
	if len(trailers) == 0 || w.hasLength || w.bodiless() {
		return nil
	}
	if err := w.Flush(); err == ErrGaveUp {
		return err
	} else if err != nil || !w.chunked {
		return nil // the connection failed, or the response is not chunked
	}
	w.chunked = false // finish must not add the last chunk again
	x := w.x
	x.encoded = append(x.encoded[:0], "0\r\n"...)
	for _, f := range trailers {
		x.encoded = append(append(append(append(x.encoded, f.Name...), ": "...), f.Value...), "\r\n"...)
	}
	x.encoded = append(x.encoded, "\r\n"...)
	x.conn.transport.stream(x, x.encoded)
	return nil
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

// Context returns a context that is done when the connection has failed or
// Limits.HandlerTime has passed. Its error is context.Canceled. It must not be used by the
// caller after the handler returns.
func (w *Response) Context() context.Context { return &clientContext{w: w, t: w.x.conn.transport} }

// A clientContext implements Context. A channel is allocated only if Done is called. The
// context package may use a clientContext after the handler has returned and w belongs to
// another request, so only the first Done uses w.
type clientContext struct {
	w    *Response
	t    *transport
	done <-chan struct{} // nil until Done is called
}

func (f *clientContext) Done() <-chan struct{} {
	if f.done == nil {
		f.done = f.w.Done()
	}
	return f.done
}

func (f *clientContext) Err() error {
	if f.clientGone() {
		return context.Canceled
	}
	return nil
}

func (f *clientContext) clientGone() bool {
	if f.done == nil {
		return f.t.isClientGone()
	}
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// AfterFunc implements the interface that context.AfterFunc looks for. Without it, each
// wait for a backend would cost a goroutine. It supports one function at a time.
func (f *clientContext) AfterFunc(wake func()) (stop func() bool) {
	x := f.w.x
	t := x.conn.transport
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil || x.expired {
		go wake() // ends at once
		return func() bool { return false }
	}
	x.afterFunc = wake
	return func() bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		waits := x.afterFunc != nil
		x.afterFunc = nil
		return waits
	}
}

func (f *clientContext) Deadline() (time.Time, bool) { return time.Time{}, false }
func (f *clientContext) Value(any) any               { return nil }
