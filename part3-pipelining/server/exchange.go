package server

import (
	"fmt"
	"runtime/debug"
	"sync"

	"socketup/part3-pipelining/http1"
)

// A Handler answers one request. It runs beside other handlers of the same
// connection if its request is safe, and alone if not. What it is given is good
// until it returns.
type Handler func(w *Response, r *Request)

// An exchange is a request, its response, and its slot in the queue. It is used
// again once its slot has left the queue.
type exchange struct {
	conn       *conn
	req        Request
	res        Response
	body       Body
	head       []byte // what req points into
	encoded    []byte // the response in bytes, or the part of it that is about to leave
	slot       slot
	seq        uint64             // among the requests of its stock
	credit     int64              // bytes of the budget that it holds (waitingmemory.go); guarded by the lock
	err        *http1.StatusError // the response to what is not handled
	barrier    bool               // an unsafe method, or a body: RFC 9112 §9.3.2
	closeAfter bool               // the connection ends behind it: nothing there is looked at
	exclusive  bool               // it has the connection for itself: handlerio.go

	deadline  int64         // the clock when its handler must have answered, or noDeadline while it waits for others; guarded by the lock
	committed bool          // a part of the response is out; guarded by the lock
	expired   bool          // answered by somebody else, and left to its handler; guarded by the lock
	done      chan struct{} // closed when no response is wanted any more; made when asked for; guarded by the lock
}

var exchangePool = sync.Pool{New: func() any { return new(exchange) }}

// An exchangeCache is what connections with the same lock share of their exchanges.
type exchangeCache struct {
	spare   *exchange // to be used next; nil for none
	lastSeq uint64    // of the last request
}

// newExchange takes the spare exchange, which is the last one unless its handler is
// still at it.
func newExchange(c *conn) *exchange {
	x := c.exchanges.spare
	if c.exchanges.spare = nil; x == nil {
		x = exchangePool.Get().(*exchange)
	}
	x.conn, x.slot.exchange, x.res.x = c, x, x
	return x
}

// recycle is for an exchange that has left the queue. All that it keeps is memory:
// whatever else was left in it would be in the life of another request, and perhaps
// of another client.
func (x *exchange) recycle() {
	if x.expired { // its handler is still at it
		return
	}
	c, hadBody := x.conn, x.req.Body != nil
	c.keepCredit(x, 0)
	x.dropLarge(c.srv)
	lines, fields, kept := x.req.Fields[:0], x.res.FieldLines[:0], x.res.body[:0]
	x.req, x.res = Request{}, Response{} // as in request.parse
	x.req.Fields, x.res.FieldLines, x.res.body = lines, fields, kept
	if hadBody { // most have none
		x.body = Body{}
	}
	x.conn, x.err, x.done, x.committed = nil, nil, nil, false
	x.barrier, x.closeAfter, x.exclusive = false, false, false
	x.seq, x.deadline = 0, 0
	if c.exchanges.spare == nil {
		c.exchanges.spare = x
	} else {
		exchangePool.Put(x)
	}
}

// parse takes the head apart and finds out what kind of exchange it will be.
func (x *exchange) parse() {
	limits := &x.conn.srv.Limits
	if x.err = x.req.Parse(x.head, limits.Fields); x.err != nil {
		return
	}
	x.closeAfter = !x.req.Persists()
	x.barrier = !x.req.IsSafe() || x.req.Length != 0
	if x.req.Length != 0 {
		x.req.Body = &x.body
		x.body = Body{x: x, awaitsContinue: x.req.ExpectContinue, waitingSince: x.conn.srv.clock.now()}
		x.body.Decoder, x.err = http1.NewBodyDecoder(x.req.Length, limits.Body, limits.Head)
	}
}

// run runs the handler and makes x.wire of what it did.
func (x *exchange) run() {
	switch {
	case x.err != nil:
	case !x.callHandler() && x.committed:
		x.abort()
		return
	case x.req.Body != nil:
		x.closeAfter = !x.req.Body.discard() || x.closeAfter
		x.err = x.body.err
	}
	if x.err != nil && !x.committed {
		x.closeAfter = true
		x.encoded = x.errorResponse(x.err, true)
		return
	}
	x.encoded = x.res.finish(x.encoded[:0])
}

// callHandler calls the handler and returns whether it came back as it should.
func (x *exchange) callHandler() (ok bool) {
	returned := false
	defer func() {
		p := recover()
		if p == nil && !returned { // runtime.Goexit cannot be stopped
			x.conn.transport.goexit(x)
		}
		if p != nil {
			x.conn.srv.Log.Error("handler panicked", "client", x.conn.peer, "request", string(x.req.Target), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			x.res.failHandler(500)
			ok = false
		}
	}()
	x.conn.srv.Handler(&x.res, &x.req)
	returned = true
	return true
}

// abort ends the connection in the middle of a response.
func (x *exchange) abort() {
	x.encoded = x.encoded[:0]
	x.conn.transport.abort()
}

// errorResponse is a response that says why there is no better one.
func (x *exchange) errorResponse(why *http1.StatusError, last bool) []byte {
	stand := &exchange{conn: x.conn, closeAfter: last} // x may be in its handler's hands
	stand.req.Method, stand.req.Minor = x.req.Method, x.req.Minor
	w := Response{x: stand}
	w.Error(why.Status, why.Detail)
	return w.finish(nil)
}

// cancel tells the handler that nobody waits for it.
func (x *exchange) cancel() {
	if x.done == nil {
		x.done = make(chan struct{})
		close(x.done)
		return
	}
	select {
	case <-x.done:
	default:
		close(x.done)
	}
}
