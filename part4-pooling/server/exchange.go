package server

import (
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"socketup/part4-pooling/http1"
)

// A Handler answers one request, on a goroutine that may block. For an HTTP/1.1 request
// with a safe method (RFC 9110 §9.2.1) and no body it may run in parallel with other
// handlers of the connection, though never with the serial driver. For any other it starts
// when all earlier requests are answered, and no other handler of the connection runs
// meanwhile (RFC 9112 §9.3.2). w and r are valid until it returns. If a handler panics, or
// returns without a status, the response is 500.
type Handler func(w *Response, r *Request)

// An exchange is a request, its response, and its slot in the queue. It is recycled when
// its slot has left the queue.
type exchange struct {
	conn        *conn
	req         Request
	res         Response
	body        Body
	head        []byte // the bytes that req points into
	encoded     []byte // the response as bytes, or the part of it that is about to be sent
	slot        slot
	sent        sentResponse       // served.go
	seq         uint64             // number of the request, unique within the exchangeCache
	credit      int64              // bytes of the budget that it holds (waitingmemory.go); guarded by the lock
	err         *http1.StatusError // why the request is refused without a handler; nil if it is not
	barrier     bool               // unsafe method, or has a body: RFC 9112 §9.3.2
	closeAfter  bool               // the connection closes after it; later input is ignored
	exclusive   bool               // it has the connection to itself: handlerio.go
	offloaded   bool               // an offloader took it; it has no handler; guarded by the lock
	handlerData any                // what the offloader prepared for the handler; nil for nothing

	deadline        int64          // the clock when its handler must have answered, or noDeadline while it waits for earlier responses or its client; guarded by the lock
	committed       bool           // a part of the response has been queued to be sent; guarded by the lock
	timeoutDisabled bool           // every wait of its handler has a limit of its own; guarded by the lock
	expired         bool           // answered with a timeout while its handler still runs; guarded by the lock
	done            chan struct{}  // closed when the response is no longer wanted; created on demand; guarded by the lock
	context         *clientContext // what Response.Context returned; nil for nothing; guarded by the lock

	onTurnWait func(time.Duration) error // the handler's, called while it waits for earlier responses (giveback.go); nil for none
}

var exchangePool = sync.Pool{New: func() any { return new(exchange) }}

// An exchangeCache is the spare exchange and the counter that connections with the same
// lock share.
type exchangeCache struct {
	spare   *exchange // reused next; nil for none
	lastSeq uint64    // seq of the last request
}

// newExchange returns the spare exchange, or one from the pool if there is no spare.
func newExchange(c *conn) *exchange {
	x := c.exchanges.spare
	if c.exchanges.spare = nil; x == nil {
		x = exchangePool.Get().(*exchange)
	}
	x.conn, x.slot.exchange, x.res.x = c, x, x
	return x
}

// recycle makes x, which has left the queue, available to another request. It clears
// all but the memory: anything else left in x would leak into another request, perhaps
// of another client.
func (x *exchange) recycle() {
	if x.expired { // its handler still uses it
		return
	}
	c, hadBody := x.conn, x.req.Body != nil
	c.returnCredit(x, 0)
	x.dropLarge(c.srv)
	lines, fields, kept := x.req.Fields[:0], x.res.FieldLines[:0], x.res.body[:0]
	x.head, x.req, x.res = x.head[:0], Request{}, Response{}
	x.req.Fields, x.res.FieldLines, x.res.body = lines, fields, kept
	if hadBody { // most have none
		x.body = Body{}
	}
	x.conn, x.err, x.done, x.committed = nil, nil, nil, false
	x.barrier, x.closeAfter, x.exclusive = false, false, false
	x.seq, x.deadline, x.onTurnWait = 0, 0, nil
	x.context, x.handlerData, x.timeoutDisabled, x.offloaded = nil, nil, false, false
	if c.exchanges.spare == nil {
		c.exchanges.spare = x
	} else {
		exchangePool.Put(x)
	}
}

// parse parses the head, and decides whether x is a barrier and whether the connection
// can be kept.
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

// run calls the handler and encodes its response into x.encoded.
func (x *exchange) run() {
	if x.err == nil {
		ok := x.callHandler()
		if !ok && x.committed {
			x.abort()
			return
		}
		if x.req.Body != nil {
			x.closeAfter = !x.req.Body.discard() || x.closeAfter
			x.err = x.body.err
		}
	}
	if x.err != nil && !x.committed {
		x.closeAfter = true
		x.encoded = x.errorResponse(x.err, true)
		return
	}
	x.encoded = x.res.finish(x.encoded[:0])
}

// callHandler calls the handler, and returns false if it panicked.
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

// errorResponse encodes a response with the status and detail of why.
func (x *exchange) errorResponse(why *http1.StatusError, last bool) []byte {
	stand := &exchange{conn: x.conn, closeAfter: last} // x itself may still be in use by its handler
	stand.req.Method, stand.req.Minor = x.req.Method, x.req.Minor
	w := Response{x: stand}
	w.Error(why.Status, why.Detail)
	return w.finish(nil)
}

// cancel ends context, and then closes done: the response is no longer wanted. A handler that
// has seen done closed finds its context ended.
func (x *exchange) cancel() {
	if x.context != nil {
		x.context.end(x.expired)
	}
	if x.done == nil {
		x.done = make(chan struct{})
	}
	select {
	case <-x.done:
	default:
		close(x.done)
	}
}
