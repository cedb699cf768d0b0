package server

import (
	"context"
	"net/netip"
	"time"

	"socketup/part4-pooling/http1"
)

// What a server has for handlers and offloaders that get the response from another
// server, such as a gateway: facts of the client, a context that ends with it,
// responses before the response, trailers behind it, and ends in the middle.

// An Attachment is what an offloader keeps for a connection, as long as the client is there.
type Attachment interface {
	OnClientGone() // the client has gone. Called once, and must not wait: the connection is locked
}

// Attachment returns what the offloader has for this connection; the first time it is what
// create returns. For offloaders only: nobody else sets it meanwhile.
func (w *Response) Attachment(create func() Attachment) Attachment {
	t := w.x.conn.transport
	if t.attachment == nil {
		g := create()
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.attachment = g; t.err != nil { // fail has been here
			g.OnClientGone()
		}
	}
	return t.attachment
}

// SetHandlerData leaves v for the handler. For offloaders only.
func (w *Response) SetHandlerData(v any) { w.x.handlerData = v }

// TakeHandlerData returns what the offloader has left for the handler, once; nil for nothing.
func (w *Response) TakeHandlerData() (v any) {
	v, w.x.handlerData = w.x.handlerData, nil
	return v
}

// DisableTimeout lifts the limit on the handler's time: all its waits have limits of their
// own, with answers that say which.
func (w *Response) DisableTimeout() { w.x.disableTimeout() }

// ClientAddr is the client's address, as accept(2) told it.
func (w *Response) ClientAddr() netip.Addr { return w.x.conn.peer }

// Committed says whether a part of the response is out: it cannot be taken back.
func (w *Response) Committed() bool { return w.x.committed }

// Wanted says whether the client still waits for the response.
func (w *Response) Wanted() bool { return w.x.wanted() }

// ClientGone says whether the client has gone.
func (w *Response) ClientGone() bool { return w.x.conn.transport.isClientGone() }

func (t *transport) isClientGone() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err != nil
}

// Reset forgets all that was not sent.
func (w *Response) Reset() {
	*w = Response{x: w.x, FieldLines: w.FieldLines[:0], body: w.body[:0]}
}

// Abort ends the connection in the middle of the response, so that the client
// sees that it is not whole.
func (w *Response) Abort() { w.x.abort() }

// Complete is the end of a response whose request was taken: w is another
// request's from then on. Nothing is written to the client until much has come
// together; if something is left to write, deliver returns the connection, and its
// flushAll is due.
func (w *Response) Complete() (owed *transport) {
	x := w.x
	x.encoded = w.finish(x.encoded[:0])
	return x.complete()
}

// WriteInterim sends b, the whole head of a 1xx response, when it is this response's
// turn. A client of HTTP/1.0 must not get one.
func (w *Response) WriteInterim(b []byte) error {
	t := w.x.conn.transport
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.waitForTurn(w.x); err != nil || w.x.committed { // behind its beginning it would be a part of the response
		return err
	}
	t.output.enqueue(b)
	t.runActions()
	return t.err
}

// WriteTrailers ends a response with trailers, if it is in chunks or can be: a client
// of HTTP/1.0, or one that was told a length, cannot have them.
func (w *Response) WriteTrailers(trailers []http1.Field) error {
	if len(trailers) == 0 || w.hasLength || w.bodiless() {
		return nil
	}
	if w.Flush() != nil || !w.chunked {
		return nil // nobody reads any more, or not in chunks
	}
	w.chunked = false // finish has nothing to add
	x := w.x
	x.encoded = append(x.encoded[:0], "0\r\n"...)
	for _, f := range trailers {
		x.encoded = append(append(append(append(x.encoded, f.Name...), ": "...), f.Value...), "\r\n"...)
	}
	x.encoded = append(x.encoded, "\r\n"...)
	x.conn.transport.stream(x, x.encoded)
	return nil
}

// CancelRead makes a Read that waits for the client return, and all after it. It is
// called by another goroutine than Read's.
func (b *Body) CancelRead() {
	t := b.x.conn.transport
	t.mu.Lock()
	defer t.mu.Unlock()
	b.readCanceled = true
	t.actions |= actionWake
	t.runEventActions()
}

// RestoreRead undoes stop when nobody reads any more. That the body did not come to
// its end is then our doing, and not the client's: the response is the handler's,
// and the connection ends behind it.
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
	b.awaitsContinue = true // as if it had never been asked for: discard does not wait for it
}

// Context is done when the client has gone, or the handler's time is up.
func (w *Response) Context() context.Context { return &clientContext{w: w, t: w.x.conn.transport} }

// A clientContext is the client of a request, as a context: done when it has reset its
// connection, or its time is up. Only who waits long enough to ask for Done
// pays for a channel. The context package may look at a front when the handler
// has returned and w is somebody else's: only the first Done looks at w.
type clientContext struct {
	w    *Response
	t    *transport
	done <-chan struct{} // nil until it is asked for
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

// AfterFunc is what context.AfterFunc calls. Without it each wait for a backend
// that is worth a watch would cost a goroutine. It is called once.
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
