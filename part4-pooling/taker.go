package main

// A taker takes requests before they get a handler. It returns true when it has
// taken one: then somebody else answers it, later, and no handler is started.
// Its slot stays where it is, empty, until then. The script:
//
//	the leader  reserves a slot, and asks the taker
//	the taker   passes the request on to somebody, and returns at once
//	that one    writes to x.res as a handler would: a write waits while the slot is
//	            full and not at the head of the line, or the client slow
//	that one    delivers, once: the answer is whole. From then on x is not his
//
// The leader asks for one request after the other, in the order in which they
// came, and nobody leads meanwhile. A handler could not keep that order: it runs
// beside others, and may pass on its request behind the next one's. That is how
// the answers of 2015 got out of order (slot.go), and here it would be worse:
// the next answer would wait for its turn, and the one whose turn it is for a
// connection that the next one blocks. For the same reason a taker that takes
// nothing may prepare something for the handler (lineup.go).
type taker func(w *response, r *request) bool

// give offers x to the taker. With the lock held, but not while it asks.
func (l *loop) give(x *exchange) bool {
	if l.srv.taker == nil || x.refused != nil {
		return false
	}
	c := x.c // when x is taken it may be answered, and used again, before we look
	l.mu.Unlock()
	taken := l.srv.taker(&x.res, &x.req)
	l.mu.Lock()
	if taken {
		c.running-- // there is no handler
	}
	return taken
}

// deliver puts x.wire into x's slot, unless somebody has answered in its place.
// It does not write to the client until much has come together: who delivers may
// have more. If anything is left to write it returns the connection, for its
// flushAll.
func (x *exchange) deliver() (owed *conn) {
	c := x.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if x.expired { // and written, by who answered
		return nil
	}
	c.line.finish(&x.slot, x.wire)
	c.advance()
	if c.out != nil && len(c.out.b) >= outSize {
		c.flush()
	}
	switch {
	case c.dead != nil:
		c.settle()
		return nil
	case c.out == nil:
		return nil
	}
	return c
}

// wanted says whether anybody waits for the answer.
func (x *exchange) wanted() bool {
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	return x.c.dead == nil && !x.expired
}

// flushAll writes what is ready.
func (c *conn) flushAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flush()
}
