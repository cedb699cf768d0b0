package gateway

import (
	"time"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/engine"
	"socketup/part4-pooling/pool"
	"socketup/part4-pooling/server"
)

// A response that waits for its turn does not keep a connection for which others wait
// (pool/giveback.go has the law). The handler gives the connection back, waits for its turn
// without one, and sends the request again. Nothing of the first response has reached the
// client, and the request is safe: the server runs no other while earlier responses
// are incomplete.
//
// An engine does the same with its connection, which many requests share (offload.go):
//
//	the sink    waits for its turn, and returns engine.ErrGiveBack when the pool demands the connection
//	the engine  takes back all requests that are not answered, gives the connection back,
//	            waits for the turn of the oldest, and asks again
//
// All of these requests were sent, and will be sent again. The next connection takes one at
// a time: the others wait for turns of their own, and may have to give it back too. So for
// this reason the backend gets a request of an engine twice more at most.

// returnable is what a forwardedRequest needs to give its connection back.
type returnable struct {
	line       *pool.Line               // that the reservation is in; nil if the handler made it
	response   *client.Response         // whose connection may be given back
	giveBackFn func(time.Duration) bool // f.giveBack
}

// mayGiveBack reports whether f may give its connection back while its response waits.
func (g *Gateway) mayGiveBack(f *forwardedRequest) bool {
	return f.line != nil && g.Pool.Limits.Spare > 0
}

// shouldGiveBack is giveBack for a request in an engine, which asks only.
func (p *offloadedRequest) shouldGiveBack(waited time.Duration) bool {
	if p.forward.overHTTP2 {
		return waited > p.gateway.Pool.Limits.Spare && p.gateway.Streams.IsWanted(p.addr)
	}
	return p.response.Conn.Owner.(*pool.Lease).ShouldGiveBack(waited)
}

// engineError returns err as an engine knows it.
func engineError(err error) error {
	if err == server.ErrGaveBack {
		return engine.ErrGiveBack
	}
	return err
}

// giveBack is called while the response of f waits for its turn, with the time that it has
// waited. It gives the connection back and returns true if the pool demands it.
func (f *forwardedRequest) giveBack(waited time.Duration) bool {
	if !f.response.Conn.Owner.(*pool.Lease).GiveBack(waited) {
		return false
	}
	f.response.Detach()
	f.response.Conn = nil // Close must not return it again
	return true
}

// askAgain waits for the turn of f, which has given its connection back, sends the request
// again, and the response to the client. It returns what forward does.
func (g *Gateway) askAgain(w *server.Response, f *forwardedRequest) error {
	w.Reset()
	f.response, f.responseOptions = nil, nil
	w.WaitForTurn() // it fails if the client has gone, and then so does the next call
	a, err := g.Pool.RoundTripReserved(w.Context(), g.Pool.ReserveAgain(f.reservation, w.ClientAddr(), f.line), &f.Request, &g.Timeouts)
	if err != nil {
		return err
	}
	defer a.Close()
	return g.copyResponse(w, f, a)
}
