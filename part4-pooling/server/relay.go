package server

import (
	"context"
	"net/netip"
	"time"

	"socketup/part4-pooling/http1"
)

// What a server has for handlers and takers that get the response from another
// server, such as a gateway: facts of the client, a context that ends with it,
// responses before the response, trailers behind it, and ends in the middle.

// A Guest is what a taker keeps for a connection, as long as the client is there.
type Guest interface {
	Abandon() // the client has gone. Called once, and must not wait: the connection is locked
}

// Guest returns what the taker has for this connection; the first time it is what
// create returns. For takers only: nobody else sets it meanwhile.
func (w *Response) Guest(create func() Guest) Guest {
	t := w.x.c.t
	if t.guest == nil {
		g := create()
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.guest = g; t.why != nil { // fail has been here
			g.Abandon()
		}
	}
	return t.guest
}

// Prepare leaves v for the handler. For takers only.
func (w *Response) Prepare(v any) { w.x.ready = v }

// Prepared returns what the taker has left for the handler, once; nil for nothing.
func (w *Response) Prepared() (v any) {
	v, w.x.ready = w.x.ready, nil
	return v
}

// Untime lifts the limit on the handler's time: all its waits have limits of their
// own, with answers that say which.
func (w *Response) Untime() { w.x.untime() }

// Peer is the client's address, as accept(2) told it.
func (w *Response) Peer() netip.Addr { return w.x.c.peer }

// Begun says whether a part of the response is out: it cannot be taken back.
func (w *Response) Begun() bool { return w.x.begun }

// Wanted says whether the client still waits for the response.
func (w *Response) Wanted() bool { return w.x.wanted() }

// Left says whether the client has gone.
func (w *Response) Left() bool { return w.x.c.t.failed() }

func (t *transport) failed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.why != nil
}

// Restart forgets all that was not sent.
func (w *Response) Restart() {
	*w = Response{x: w.x, Fields: w.Fields[:0], body: w.body[:0]}
}

// BreakOff ends the connection in the middle of the response, so that the client
// sees that it is not whole.
func (w *Response) BreakOff() { w.x.breakOff() }

// Deliver is the end of a response whose request was taken: w is another
// request's from then on. Nothing is written to the client until much has come
// together; if something is left to write, deliver returns the connection, and its
// flushAll is due.
func (w *Response) Deliver() (owed *transport) {
	x := w.x
	x.wire = w.finish(x.wire[:0])
	return x.deliver()
}

// Interim sends b, the whole head of a 1xx response, when it is this response's
// turn. A client of HTTP/1.0 must not get one.
func (w *Response) Interim(b []byte) error {
	t := w.x.c.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.myTurn(w.x); err != nil || w.x.begun { // behind its beginning it would be a part of the response
		return err
	}
	t.out.append(b)
	t.act()
	return t.why
}

// EndWith ends a response with trailers, if it is in chunks or can be: a client
// of HTTP/1.0, or one that was told a length, cannot have them.
func (w *Response) EndWith(trailers []http1.Field) error {
	if len(trailers) == 0 || w.sized || w.bodiless() {
		return nil
	}
	if w.Flush() != nil || !w.chunked {
		return nil // nobody reads any more, or not in chunks
	}
	w.chunked = false // finish has nothing to add
	x := w.x
	x.wire = append(x.wire[:0], "0\r\n"...)
	for _, f := range trailers {
		x.wire = append(append(append(append(x.wire, f.Name...), ": "...), f.Value...), "\r\n"...)
	}
	x.wire = append(x.wire, "\r\n"...)
	x.c.t.stream(x, x.wire)
	return nil
}

// Stop makes a Read that waits for the client return, and all after it. It is
// called by another goroutine than Read's.
func (b *Body) Stop() {
	t := b.x.c.t
	t.mu.Lock()
	defer t.mu.Unlock()
	b.enough = true
	t.asks |= askWake
	t.attend()
}

// Settle undoes stop when nobody reads any more. That the body did not come to
// its end is then our doing, and not the client's: the response is the handler's,
// and the connection ends behind it.
func (b *Body) Settle() {
	t := b.x.c.t
	t.mu.Lock()
	stopped := b.enough
	b.enough = false
	t.mu.Unlock()
	if !stopped {
		return
	}
	if b.refused == errBodySlow {
		b.refused = nil
	}
	b.expected = true // as if it had never been asked for: discard does not wait for it
}

// Context is done when the client has gone, or the handler's time is up.
func (w *Response) Context() context.Context { return &front{w: w, t: w.x.c.t} }

// A front is the client of a request, as a context: done when it has reset its
// connection, or its time is up. Only who waits long enough to ask for Done
// pays for a channel. The context package may look at a front when the handler
// has returned and w is somebody else's: only the first Done looks at w.
type front struct {
	w    *Response
	t    *transport
	done <-chan struct{} // nil until it is asked for
}

func (f *front) Done() <-chan struct{} {
	if f.done == nil {
		f.done = f.w.Done()
	}
	return f.done
}

func (f *front) Err() error {
	if f.left() {
		return context.Canceled
	}
	return nil
}

func (f *front) left() bool {
	if f.done == nil {
		return f.t.failed()
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
func (f *front) AfterFunc(wake func()) (stop func() bool) {
	x := f.w.x
	t := x.c.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.why != nil || x.expired {
		go wake() // ends at once
		return func() bool { return false }
	}
	x.wake = wake
	return func() bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		waits := x.wake != nil
		x.wake = nil
		return waits
	}
}

func (f *front) Deadline() (time.Time, bool) { return time.Time{}, false }
func (f *front) Value(any) any               { return nil }
