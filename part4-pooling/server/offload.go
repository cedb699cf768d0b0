package server

// An Offloader may take a request before its handler starts. It must not block. If it
// returns true, no handler starts, and another goroutine, such as an engine's, answers
// the request later; its slot stays in the queue until then. If it returns false, the
// handler runs as usual. The script:
//
//	the driver     reserves a slot, and calls the offloader
//	the offloader  passes the request to an engine, and returns true
//	the engine     writes to w as a handler would: a write blocks when 32 KiB are buffered,
//	               until earlier responses are complete and the client has taken them
//	the engine     calls w.Complete once: the response is complete, and w and r belong
//	               to the server again
//
// The driver calls it for one request of a connection after the other, in the order of
// arrival, and takes no other request meanwhile. Handlers could not keep that order: they
// run in parallel, and one may pass on its request after the next one's. That is how
// responses got out of order in MESOS-3705 (slot.go), and here it would be a deadlock:
// the later response would hold the backend connection until the earlier one is sent, and
// the earlier one would wait for that connection. For the same reason an offloader that
// returns false may have prepared something for the handler (SetHandlerData).
type Offloader func(w *Response, r *Request) bool

// tryOffload offers x to the offloader, and returns whether it took x. The caller holds the
// lock; it is released during the call. The serial driver and exclusive requests do not
// use it: handlers that run one at a time keep the order.
func (t *transport) tryOffload(x *exchange) bool {
	if t.srv.Offloader == nil || x.err != nil {
		return false
	}
	x.offloaded = true // set it first: an engine may complete and recycle x before the offloader returns
	t.mu.Unlock()
	taken := t.srv.Offloader(&x.res, &x.req)
	t.mu.Lock()
	if !taken {
		x.offloaded = false
	}
	return taken
}

// A Flusher is a client's connection with completed responses that may not be written yet.
type Flusher interface {
	Flush() // writes them. It does not block, and any goroutine may call it
}

// complete puts x.encoded in the slot of x, unless a timeout has completed the slot. It
// does not write to the client until output is full, because the caller may complete
// more responses. If bytes are left to write it returns the connection: the caller must
// call its Flush.
func (x *exchange) complete() (unwritten *transport) {
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

// wanted reports whether the client still waits for the response.
func (x *exchange) wanted() bool {
	x.conn.transport.mu.Lock()
	defer x.conn.transport.mu.Unlock()
	return x.conn.err == nil && !x.expired
}

// Flush implements Flusher.
func (t *transport) Flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.runActions()
}
