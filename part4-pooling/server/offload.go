package server

// An Offloader takes requests before they get a handler. It returns true when it has
// taken one: then somebody else answers it, later, and no handler is started.
// Its slot stays where it is, empty, until then. The script:
//
//	the driver     reserves a slot, and asks the offloader
//	the offloader  passes the request on to somebody, and returns at once
//	that one       writes to x.res as a handler would: a write waits while the slot is
//	            full and not at the head of the queue, or the client slow
//	that one       delivers, once: the response is whole. From then on x is not his
//
// The driver asks for one request after the other, in the order in which they
// came, and nobody takes requests meanwhile. A handler could not keep that order: it runs
// beside others, and may pass on its request behind the next one's. That is how
// the responses of 2015 got out of order (slot.go), and here it would be worse:
// the next response would wait for its turn, and the one whose turn it is for a
// connection that the next one blocks. For the same reason an offloader that takes
// nothing may prepare something for the handler (reserve.go).
type Offloader func(w *Response, r *Request) bool

// tryOffload offers x to the offloader. With the lock held, but not while it asks. A driver
// that handles one request at a time does not ask: its handlers keep the order.
func (t *transport) tryOffload(x *exchange) bool {
	if t.srv.Offloader == nil || x.err != nil {
		return false
	}
	x.offloaded = true // if it is, it may be answered, and used again, before we look
	t.mu.Unlock()
	taken := t.srv.Offloader(&x.res, &x.req)
	t.mu.Lock()
	if !taken {
		x.offloaded = false
	}
	return taken
}

// complete puts x.wire into x's slot, unless somebody has answered in its place.
// It does not write to the client until much has come together: who delivers may
// have more. If anything is left to write it returns the connection, for its
// flushAll.
func (x *exchange) complete() (owed *transport) {
	t := x.conn.transport
	t.mu.Lock()
	defer t.mu.Unlock()
	t.complete(x)
	if t.runEventActions(); t.closeState != open {
		t.runActions()
		return nil
	}
	if t.output.next == nil {
		return nil
	}
	return t
}

// wanted says whether anybody waits for the response.
func (x *exchange) wanted() bool {
	x.conn.transport.mu.Lock()
	defer x.conn.transport.mu.Unlock()
	return x.conn.err == nil && !x.expired
}

// Flush writes what is ready.
func (t *transport) Flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.runActions()
}
