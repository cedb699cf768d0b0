package server

import (
	"fmt"
	"runtime/debug"
	"sync"

	"socketup/part4-pooling/http1"
)

// A Handler answers one request. It runs beside other handlers of the same
// connection if its request is safe, and alone if not. What it is given is good
// until it returns.
type Handler func(w *Response, r *Request)

// An exchange is a request, its answer, and its slot in the line. It is used
// again once its slot has left the line.
type exchange struct {
	c       *conn
	req     Request
	res     Response
	body    Body
	head    []byte // what req points into
	wire    []byte // the answer in bytes, or the part of it that is about to leave
	slot    slot
	number  uint64         // among the requests of its stock
	refused *http1.Refusal // the answer to what is not handled
	barrier bool           // an unsafe method, or a body: RFC 9112 §9.3.2
	last    bool           // the connection ends behind it: nothing there is looked at
	alone   bool           // it has the connection for itself: handling.go
	taken   bool           // a taker has it, and no handler; guarded by the lock
	ready   any            // what the taker has prepared for the handler; nil for nothing

	due     int64         // the clock when its handler must have answered, or noLimit while it waits for others; guarded by the lock
	begun   bool          // a part of the answer is out; guarded by the lock
	untimed bool          // its handler waits only for what has limits of its own; guarded by the lock
	expired bool          // answered by somebody else, and left to its handler; guarded by the lock
	gone    chan struct{} // closed when no answer is wanted any more; made when asked for; guarded by the lock
	wake    func()        // called then, with the lock; nil: nobody wants to know; guarded by the lock
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

// A stock is what connections with the same lock share of their exchanges.
type stock struct {
	spare  *exchange // to be used next; nil for none
	number uint64    // of the last request
}

// newExchange takes the spare exchange, which is the last one unless its handler is
// still at it.
func newExchange(c *conn) *exchange {
	x := c.stock.spare
	if c.stock.spare = nil; x == nil {
		x = exchanges.Get().(*exchange)
	}
	x.c, x.slot.owner, x.res.x = c, x, x
	return x
}

// recycle is for an exchange that has left the line. All that it keeps is memory:
// whatever else was left in it would be in the life of another request, and perhaps
// of another client.
func (x *exchange) recycle() {
	if x.expired { // its handler is still at it
		return
	}
	c, hadBody := x.c, x.req.Body != nil
	lines, fields, kept := x.req.Fields[:0], x.res.Fields[:0], x.res.body[:0]
	x.req, x.res = Request{}, Response{} // as in request.parse
	x.req.Fields, x.res.Fields, x.res.body = lines, fields, kept
	if hadBody { // most have none
		x.body = Body{}
	}
	x.c, x.refused, x.gone, x.begun = nil, nil, nil, false
	x.barrier, x.last, x.alone = false, false, false
	x.number, x.due = 0, 0
	x.wake, x.ready, x.untimed, x.taken = nil, nil, false, false
	if c.stock.spare == nil {
		c.stock.spare = x
	} else {
		exchanges.Put(x)
	}
}

// read takes the head apart and finds out what kind of exchange it will be.
func (x *exchange) read() {
	limits := &x.c.srv.Limits
	if x.refused = x.req.Parse(x.head, limits.Fields); x.refused != nil {
		return
	}
	x.last = !x.req.Persists()
	x.barrier = !x.req.Safe() || x.req.Length != 0
	if x.req.Length != 0 {
		x.req.Body = &x.body
		x.body = Body{x: x, expected: x.req.Expected, since: x.c.srv.clock.now()}
		x.body.Framing, x.refused = http1.NewFraming(x.req.Length, limits.Body, limits.Head)
	}
}

// answer runs the handler and makes x.wire of what it did.
func (x *exchange) answer() {
	switch {
	case x.refused != nil:
	case !x.call() && x.begun:
		x.breakOff()
		return
	case x.req.Body != nil:
		x.last = !x.req.Body.discard() || x.last
		x.refused = x.body.refused
	}
	if x.refused != nil && !x.begun {
		x.last = true
		x.wire = x.plain(x.refused, true)
		return
	}
	x.wire = x.res.finish(x.wire[:0])
}

// call calls the handler and returns whether it came back as it should.
func (x *exchange) call() (ok bool) {
	returned := false
	defer func() {
		p := recover()
		if p == nil && !returned { // runtime.Goexit cannot be stopped
			x.c.t.leave(x)
		}
		if p != nil {
			x.c.srv.Log.Error("handler panicked", "client", x.c.peer, "request", string(x.req.Target), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			x.res.reset(500)
			ok = false
		}
	}()
	x.c.srv.Handler(&x.res, &x.req)
	returned = true
	return true
}

// breakOff ends the connection in the middle of an answer.
func (x *exchange) breakOff() {
	x.wire = x.wire[:0]
	x.c.t.breakOff()
}

// plain is an answer that says why there is no better one.
func (x *exchange) plain(why *http1.Refusal, last bool) []byte {
	stand := &exchange{c: x.c, last: last} // x may be in its handler's hands
	stand.req.Method, stand.req.Minor = x.req.Method, x.req.Minor
	w := Response{x: stand}
	w.Error(why.Status, why.Reason)
	return w.finish(nil)
}

// cancel tells the handler that nobody waits for it.
func (x *exchange) cancel() {
	if x.gone == nil {
		x.gone = make(chan struct{})
	}
	select {
	case <-x.gone:
	default:
		close(x.gone)
	}
	if x.wake != nil {
		x.wake()
		x.wake = nil
	}
}
