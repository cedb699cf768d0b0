package server

// A Taker takes requests before they get a handler. It returns true when it has
// taken one: then somebody else answers it, later, and no handler is started.
// Its slot stays where it is, empty, until then. The script:
//
//	the driver  reserves a slot, and asks the taker
//	the taker   passes the request on to somebody, and returns at once
//	that one    writes to x.res as a handler would: a write waits while the slot is
//	            full and not at the head of the line, or the client slow
//	that one    delivers, once: the answer is whole. From then on x is not his
//
// The driver asks for one request after the other, in the order in which they
// came, and nobody takes requests meanwhile. A handler could not keep that order: it runs
// beside others, and may pass on its request behind the next one's. That is how
// the answers of 2015 got out of order (slot.go), and here it would be worse:
// the next answer would wait for its turn, and the one whose turn it is for a
// connection that the next one blocks. For the same reason a taker that takes
// nothing may prepare something for the handler (lineup.go).
type Taker func(w *Response, r *Request) bool

// give offers x to the taker. With the lock held, but not while it asks. A driver
// that handles one request at a time does not ask: its handlers keep the order.
func (t *transport) give(x *exchange) bool {
	if t.srv.Taker == nil || x.refused != nil {
		return false
	}
	x.taken = true // if it is, it may be answered, and used again, before we look
	t.mu.Unlock()
	taken := t.srv.Taker(&x.res, &x.req)
	t.mu.Lock()
	if !taken {
		x.taken = false
	}
	return taken
}

// deliver puts x.wire into x's slot, unless somebody has answered in its place.
// It does not write to the client until much has come together: who delivers may
// have more. If anything is left to write it returns the connection, for its
// flushAll.
func (x *exchange) deliver() (owed *transport) {
	t := x.c.t
	t.mu.Lock()
	defer t.mu.Unlock()
	t.finish(x)
	if t.attend(); t.end != open {
		t.act()
		return nil
	}
	if t.out.next == nil {
		return nil
	}
	return t
}

// wanted says whether anybody waits for the answer.
func (x *exchange) wanted() bool {
	x.c.t.mu.Lock()
	defer x.c.t.mu.Unlock()
	return x.c.why == nil && !x.expired
}

// Flush writes what is ready.
func (t *transport) Flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.act()
}
