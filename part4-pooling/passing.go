package main

// What passes through a gateway beside heads and bodies: answers before the
// answer, the end of a body that nobody wants, and the fields behind a body.

// passInterim passes on an answer that is not the last, such as 103 Early
// Hints. A gateway must, if its client knows HTTP/1.1 (RFC 9110 §15.2). The 100
// Continue that lets the body go is not among them: the server sends its own
// when the body is read.
func (f *forward) passInterim(h *heading) error {
	x := f.w.x
	if x.req.minor == 0 {
		return nil
	}
	b := appendPassed(appendStatus(nil, h.status), h)
	return x.c.interim(x, append(b, "\r\n"...))
}

// interim sends b, which is not x's answer but comes before it, when it is x's turn.
func (c *conn) interim(x *exchange, b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.turn(x); err != nil || x.begun { // behind its beginning it would be a part of the answer
		return err
	}
	c.append(b)
	c.flush()
	return c.dead
}

// A passingBody is the body of a request on its way to a backend. The backend
// may answer before it has come, for it is too long, or not allowed. Then the
// client must hear of it at once, and not when it has sent, or stalled, to the
// end.
type passingBody struct {
	*body
	stopped bool
}

// stop makes a Read that waits for the client return. It is called by another
// goroutine than Read's.
func (b *passingBody) stop() {
	b.stopped = true
	c := b.x.c
	c.mu.Lock()
	defer c.mu.Unlock()
	c.enough = true
	c.changed.Broadcast()
}

// settle undoes stop when nobody reads any more. That the body did not come to
// its end is then our doing, and not the client's: the answer is the backend's,
// and the connection ends behind it.
func (b *passingBody) settle() {
	if !b.stopped {
		return
	}
	c := b.x.c
	c.mu.Lock()
	c.enough = false
	c.mu.Unlock()
	if b.refused == errBodySlow {
		b.refused = nil
	}
	b.expected = true // as if it had never been asked for: discard does not wait for it
}

// trailing are the fields behind the body, those that may pass.
func (b *passingBody) trailing() []field { return passable(b.trailers) }

// passTrailer passes on which fields the backend has announced.
func passTrailer(w *response, a *answer) {
	for _, f := range a.fields {
		if equalFold(f.name, "trailer") && a.length == chunked {
			w.fields = appendFields(w.fields, []field{f})
		}
	}
}

// endWith ends an answer with trailers, if it is in chunks or can be: a client
// of HTTP/1.0, or one that was told a length, cannot have them.
func (w *response) endWith(trailers []field) error {
	trailers = passable(trailers)
	if len(trailers) == 0 || w.sized || w.bodiless() {
		return nil
	}
	if w.flush() != nil || !w.chunked {
		return nil // nobody reads any more, or not in chunks
	}
	w.chunked = false // finish has nothing to add
	x := w.x
	x.wire = appendFields(append(x.wire[:0], "0\r\n"...), trailers)
	x.wire = append(x.wire, "\r\n"...)
	x.c.stream(x, x.wire)
	return nil
}

// passable are those trailers that do no harm if somebody takes them for fields
// of the head, which RFC 9110 §6.5.1 forbids and programs do: none that say
// where a message ends, who asks, whom, or what the content is.
func passable(trailers []field) []field {
	var may []field
	for _, f := range trailers {
		if !hop(f.name) && !notBehind(f.name) {
			may = append(may, f)
		}
	}
	return may
}

func notBehind(name []byte) bool {
	for _, n := range headOnly[len(name)%len(headOnly)] {
		if equalFold(name, n) {
			return true
		}
	}
	return false
}

var headOnly = byLength(
	"host", "trailer", "expect", "max-forwards", "range", "cache-control", "pragma", "via", "forwarded", "x-forwarded-for",
	"if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range",
	"authorization", "www-authenticate", "authentication-info", "cookie", "set-cookie",
	"content-type", "content-encoding", "content-range", "age", "date", "expires", "location", "retry-after", "vary",
)
