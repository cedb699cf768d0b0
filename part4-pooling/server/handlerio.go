package server

import "socketup/part4-pooling/http1"

// handleExclusive calls the handler of x, on a goroutine that may block. x is unsafe, has a
// body, or is an HTTP/1.0 request, and gets the connection to itself. No other handler
// runs, because the request may change what the others see (RFC 9112 §9.3.2). Nothing
// else reads from the socket, because the next bytes may be its body. The script:
//
//	the driver    removes the head from input, reserves a slot, and calls runExclusive
//	runExclusive  waits until every earlier request is answered, and calls the handler
//	the handler   reads the body, and waits for more of it in readMoreBody
//	runExclusive  completes the slot: the driver resumes the connection
//
// While inputState is exclusive, input belongs to that goroutine. In the loop it is a
// goroutine that the loop starts; in the other drivers it is the connection's own.
func (t *transport) handleExclusive(x *exchange) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.runExclusive(x)
}

// runExclusive is handleExclusive with the lock held. It releases the lock while the
// handler runs.
func (t *transport) runExclusive(x *exchange) {
	if !t.waitToStart(x) {
		x.err = errConnEnded
	}
	t.mu.Unlock()
	x.run()
	t.mu.Lock()
	t.complete(x)
	t.runActions()
}

var errConnEnded = &http1.StatusError{Status: 503, Detail: "the connection ended before this request could start"}

// waitToStart waits until x is at the head of the queue: every earlier request is
// answered. The time limits of its handler and its body start then. It returns false if
// the connection ends or x expires first.
func (t *transport) waitToStart(x *exchange) bool {
	x.deadline = noDeadline
	for t.closeState == open && !x.expired && t.slots.head != &x.slot {
		t.changed.Wait()
	}
	x.startDeadline()
	x.body.waitingSince = t.srv.clock.now()
	return t.closeState == open && !x.expired
}

// waitUntilFirst waits until x, whose handler is running, is at the head of the queue. The
// wait does not count as the handler's time. The handler may end it (giveback.go).
func (t *transport) waitUntilFirst(x *exchange) error {
	if x.expired {
		return errResponseTimeout
	}
	x.deadline = noDeadline
	for began := t.srv.clock.now(); t.closeState == open && t.slots.head != &x.slot; {
		if err := t.waitOrGiveBack(x, began); err != nil {
			return err
		}
	}
	x.startDeadline()
	return t.err
}

// stream sends b, a part of the response of x, when x is at the head of the queue, and
// waits until the kernel has accepted it, so that a handler writes no faster than its
// client reads. Neither wait counts as the handler's time.
func (t *transport) stream(x *exchange, b []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.waitUntilFirst(x); err != nil {
		return err
	}
	t.queueStreamed(x, b)
	for t.runActions(); t.closeState == open && !t.output.empty(); {
		t.changed.Wait()
	}
	x.startDeadline()
	return t.err
}

// awaitsContinue reports whether x's client still waits for 100 Continue. If the response
// begins before that, the client may send the body or not.
func (t *transport) awaitsContinue(x *exchange) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return x.body.awaitsContinue
}

// readMoreBody waits until more of the body has arrived, or the client's time is up; the
// wait does not count as the handler's time. A client that expects 100 Continue gets it
// only now, and its time starts now: a handler that does not read does not want the body
// (RFC 9110 §10.1.1).
func (t *transport) readMoreBody(b *Body) *http1.StatusError {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := b.x
	if x.expired { // input no longer belongs to this handler
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
		case t.input.readState == atEOF, t.closeState != open, x.expired: // read may have set the first two
			return http1.ErrBodyTruncated
		case b.readCanceled: // proxy.go
			return errBodyTimeout
		case t.srv.clock.now() >= t.srv.waitDeadline(waitBody, b.waitingSince):
			return errBodyTimeout
		}
	}
}

// abort ends the connection in the middle of a response, so that the client sees that it
// is incomplete. A second status line would be read as a part of the body.
func (t *transport) abort() {
	t.mu.Lock()
	t.fail(errAborted)
	t.runEventActions()
	t.mu.Unlock()
}

// doneChan returns a channel that is closed when the response of x is no longer wanted.
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
