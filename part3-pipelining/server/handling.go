package server

import "socketup/part3-pipelining/http1"

// What a handler does with its connection while it runs, on a goroutine that may
// wait. An unsafe request has the connection for itself: nothing alongside it,
// because it may change what the others see (RFC 9112 §9.3.2), and nobody else who
// reads, because what comes next is its body. So it is handled like this:
//
//	the driver   takes the request off in, gives it a slot, and calls handleAlone
//	handleAlone  waits until all before it is answered, and calls the handler
//	             the handler reads the body, and waits for events, which the driver passes on
//	handleAlone  finishes its slot: the driver goes on with the connection
//
// While intake is alone, in belongs to that goroutine.
func (t *transport) handleAlone(x *exchange) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.workAlone(x)
}

// workAlone is handleAlone with the lock, which it opens for the handler.
func (t *transport) workAlone(x *exchange) {
	if !t.wait(x) {
		x.refused = errGone
	}
	t.mu.Unlock()
	x.answer()
	t.mu.Lock()
	t.finish(x)
	t.act()
}

var errGone = &http1.Refusal{Status: 503, Reason: "the connection ended before it was this request's turn"}

// wait waits until x is at the head of the line: all before it is answered.
// Its handler's time, and its body's, begin then. It returns false when that is
// not to be.
func (t *transport) wait(x *exchange) bool {
	x.due = noLimit
	for t.end == open && !x.expired && t.line.head != &x.slot {
		t.changed.Wait()
	}
	x.allot()
	x.body.since = t.srv.clock.now()
	return t.end == open && !x.expired
}

// myTurn waits until it is the turn of x, whose handler is at work. A handler's
// time is its own: what it waits here is not counted.
func (t *transport) myTurn(x *exchange) error {
	if x.expired {
		return errHandlerSlow
	}
	x.due = noLimit
	for t.end == open && t.line.head != &x.slot {
		t.changed.Wait()
	}
	x.allot()
	return t.why
}

// stream writes b, a part of x's answer, when it is x's turn, and waits until
// the kernel has taken it: a handler is not faster than its client, and that
// does not count either.
func (t *transport) stream(x *exchange, b []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.myTurn(x); err != nil {
		return err
	}
	t.streams(x, b)
	for t.act(); t.end == open && !t.out.empty(); {
		t.changed.Wait()
	}
	x.allot()
	return t.why
}

// unasked says whether x's client still waits to hear whether it should send the
// body. If the answer begins now it will not be told, and may send it or not.
func (t *transport) unasked(x *exchange) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return x.body.expected
}

// fill waits until more of a body has come, for as long as its client may take;
// its handler's time stands still. Only now does a client that expects 100
// Continue get it, and its time begins: a handler that does not read does not
// want the body (RFC 9110 §10.1.1).
func (t *transport) fill(b *Body) *http1.Refusal {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := b.x
	if x.expired { // the connection is not its any more
		return http1.ErrBodyEnded
	}
	x.due = noLimit
	defer x.allot()
	t.invite(b)
	t.act()
	for had := len(t.in.bytes()); ; t.driver.await(t) {
		if t.end == open && !x.expired {
			t.read()
		}
		switch {
		case len(t.in.bytes()) > had:
			return nil
		case t.in.state == atEnd, t.end != open, x.expired: // read may have found either
			return http1.ErrBodyEnded
		case t.srv.clock.now() >= t.srv.until(waitBody, b.since):
			return errBodySlow
		}
	}
}

// breakOff ends the connection in the middle of the answer of x. The client sees
// that it is not whole; a second status line would be a part of the body to it.
func (t *transport) breakOff() {
	t.mu.Lock()
	t.fail(errBrokenOff)
	t.attend()
	t.mu.Unlock()
}

// gone is closed when nobody waits for x's answer any more.
func (t *transport) gone(x *exchange) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if x.gone == nil {
		if t.end == dead || t.end == closed {
			x.cancel()
		} else {
			x.gone = make(chan struct{})
		}
	}
	return x.gone
}
