package server

import "socketup/part4-pooling/http1"

// What a handler does with its connection while it runs, on a goroutine that may
// wait. An unsafe request has the connection for itself: nothing alongside it,
// because it may change what the others see (RFC 9112 §9.3.2), and nobody else who
// reads, because what comes next is its body. So it is handled like this:
//
//	the driver       takes the request off in, gives it a slot, and calls handleExclusive
//	handleExclusive  waits until all before it is answered, and calls the handler
//	                 the handler reads the body, and waits for events, which the driver passes on
//	handleExclusive  finishes its slot: the driver goes on with the connection
//
// While intake is alone, in belongs to that goroutine.
func (t *transport) handleExclusive(x *exchange) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.runExclusive(x)
}

// runExclusive is handleExclusive with the lock, which it opens for the handler.
func (t *transport) runExclusive(x *exchange) {
	if !t.waitForHead(x) {
		x.err = errConnEnded
	}
	t.mu.Unlock()
	x.run()
	t.mu.Lock()
	t.complete(x)
	t.runActions()
}

var errConnEnded = &http1.StatusError{Status: 503, Detail: "the connection ended before it was this request's turn"}

// waitForHead waits until x is at the head of the queue: all before it is answered.
// Its handler's time, and its body's, begin then. It returns false when that is
// not to be.
func (t *transport) waitForHead(x *exchange) bool {
	x.deadline = noDeadline
	for t.closeState == open && !x.expired && t.slots.head != &x.slot {
		t.changed.Wait()
	}
	x.startDeadline()
	x.body.waitingSince = t.srv.clock.now()
	return t.closeState == open && !x.expired
}

// waitForTurn waits until it is the turn of x, whose handler is at work. A handler's
// time is its own: what it waits here is not counted.
func (t *transport) waitForTurn(x *exchange) error {
	if x.expired {
		return errResponseTimeout
	}
	x.deadline = noDeadline
	for t.closeState == open && t.slots.head != &x.slot {
		t.changed.Wait()
	}
	x.startDeadline()
	return t.err
}

// stream writes b, a part of x's answer, when it is x's turn, and waits until
// the kernel has taken it: a handler is not faster than its client, and that
// does not count either.
func (t *transport) stream(x *exchange, b []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.waitForTurn(x); err != nil {
		return err
	}
	t.queueStreamed(x, b)
	for t.runActions(); t.closeState == open && !t.output.empty(); {
		t.changed.Wait()
	}
	x.startDeadline()
	return t.err
}

// awaitsContinue says whether x's client still waits to hear whether it should send the
// body. If the response begins now it will not be told, and may send it or not.
func (t *transport) awaitsContinue(x *exchange) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return x.body.awaitsContinue
}

// readMoreBody waits until more of a body has come, for as long as its client may take;
// its handler's time stands still. Only now does a client that expects 100
// Continue get it, and its time begins: a handler that does not read does not
// want the body (RFC 9110 §10.1.1).
func (t *transport) readMoreBody(b *Body) *http1.StatusError {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := b.x
	if x.expired { // the connection is not its any more
		return http1.ErrBodyTruncated
	}
	x.deadline = noDeadline
	defer x.startDeadline()
	t.sendContinue(b)
	t.runActions()
	for had := len(t.input.bytes()); ; t.driver.awaitInput(t) {
		if t.closeState == open && !x.expired {
			t.read()
		}
		switch {
		case len(t.input.bytes()) > had:
			return nil
		case t.input.readState == atEOF, t.closeState != open, x.expired: // read may have found either
			return http1.ErrBodyTruncated
		case b.readCanceled: // proxy.go
			return errBodyTimeout
		case t.srv.clock.now() >= t.srv.waitDeadline(waitBody, b.waitingSince):
			return errBodyTimeout
		}
	}
}

// abort ends the connection in the middle of the response of x. The client sees
// that it is not whole; a second status line would be a part of the body to it.
func (t *transport) abort() {
	t.mu.Lock()
	t.fail(errAborted)
	t.runEventActions()
	t.mu.Unlock()
}

// doneChan is closed when nobody waits for x's answer any more.
func (t *transport) doneChan(x *exchange) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if x.done == nil {
		if t.closeState == closing || t.closeState == closed {
			x.cancel()
		} else {
			x.done = make(chan struct{})
		}
	}
	return x.done
}
