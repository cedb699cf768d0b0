package main

// An unsafe request has the connection for itself: nothing beside it, because
// it may change what the others see (RFC 9112 §9.3.2), and nobody else who
// reads, because what comes next is its body. So the loop gives the connection
// away, to a goroutine that may wait:
//
//	the loop   takes the request off in, gives it a slot, starts alone, and forgets the connection
//	alone      waits until all before it is answered, and calls the handler
//	           the handler reads the body, and waits for news, which the loop passes on
//	alone      finishes its slot and asks for news: the loop has the connection again
//
// While c.away is set, c.in belongs to that goroutine.
func (c *conn) alone(x *exchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.await(x) {
		x.refused = errGone
	}
	c.mu.Unlock()
	x.answer()
	c.mu.Lock()
	if x.expired { // the connection has ended without us
		c.finish(x)
		return
	}
	c.away, c.last = false, c.last || x.last
	c.finish(x)
	c.flush()
	c.resume()
}

var errGone = &refusal{503, "the connection ended before it was this request's turn"}

// await waits until x is at the head of the line: all before it is answered.
// Its handler's time, and its body's, begin then. It returns false when that is
// not to be.
func (c *conn) await(x *exchange) bool {
	x.due = noLimit
	for c.dead == nil && !x.expired && c.line.head != &x.slot {
		c.changed.Wait()
	}
	x.allot()
	x.body.since = c.srv.clock.now()
	return c.dead == nil && !x.expired
}

// turn waits until it is the turn of x, whose handler is at work. A handler's
// time is its own: what it waits here is not counted.
func (c *conn) turn(x *exchange) error {
	if x.expired {
		return errHandlerSlow
	}
	x.due = noLimit
	for c.dead == nil && c.line.head != &x.slot {
		c.changed.Wait()
	}
	x.allot()
	return c.dead
}

// stream writes b, a part of x's answer, when it is x's turn, and waits until
// the kernel has taken it: a handler is not faster than its client, and that
// does not count either.
func (c *conn) stream(x *exchange, b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.turn(x); err != nil {
		return err
	}
	if !x.begun && x.res.endsWithConnection() {
		c.bareBegins()
	}
	x.begun, x.due = true, noLimit
	c.append(b)
	c.flush()
	for c.dead == nil && (c.out != nil || c.sending != nil) {
		c.changed.Wait()
	}
	x.allot()
	return c.dead
}

// unasked says whether x's client still waits to hear whether it should send the
// body. If the answer begins now it will not be told, and may send it or not.
func (c *conn) unasked(x *exchange) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return x.body.expected
}

// fill waits until more of a body has come, for as long as its client may take;
// its handler's time stands still. Only now does a client that expects 100
// Continue get it, and its time begins: a handler that does not read does not
// want the body (RFC 9110 §10.1.1).
func (c *conn) fill(b *body) *refusal {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := b.x
	if x.expired { // nothing of c is his any more
		return errBodyEnded
	}
	x.due = noLimit
	defer x.allot()
	if b.expected && !x.begun && c.dead == nil { // in the middle of an answer it would be a part of its body
		b.expected, b.since = false, c.srv.clock.now()
		c.append([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
		c.flush()
	}
	for had := len(c.in.bytes()); ; c.changed.Wait() {
		if c.dead == nil {
			c.read()
		}
		switch {
		case len(c.in.bytes()) > had:
			return nil
		case c.eof, c.dead != nil: // read may have found either
			return errBodyEnded
		case b.enough: // relay.go
			return errBodySlow
		case c.srv.clock.now() >= c.srv.until(waitBody, b.since):
			return errBodySlow
		}
	}
}
