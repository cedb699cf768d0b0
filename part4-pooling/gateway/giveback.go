package gateway

import (
	"time"

	"socketup/part4-pooling/client"
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
//	the sink    waits for its turn, and returns pool.ErrGiveBack when the pool demands the connection
//	the engine  takes back all requests that are not answered, gives the connection back,
//	            waits for the turn of the oldest, and asks again
//
// All of these requests were sent, and will be sent again. The next connection takes one at
// a time: the others wait for turns of their own, and may have to give it back too. So for
// this reason the backend gets a request of an engine twice more at most.
//
// An interim response waits like a final one, and gives the connection back like one
// (RoundTripReserved, or the engine). If it was sent, the request is at its turn and no longer
// gives anything back. Only the end of a connection has that request sent again, and may so
// bring its client a second 103, which RFC 9110 §15.2 allows: any number may come.

// returnable is what a forwardedRequest needs to give its connection back.
type returnable struct {
	line       *pool.Line                // that the reservation is in; nil if the handler made it, or in an engine
	lease      *pool.Lease               // of the response that is being sent to the client
	turnWaitFn func(time.Duration) error // f.turnWait
}

// holds tells f which connection it holds while what it writes next waits for its turn.
func (f *forwardedRequest) holds(a *client.Response) {
	if f.streams == nil {
		f.lease = a.Conn.Owner.(*pool.Lease)
	}
	f.w.OnTurnWait(f.turnWaitFn)
}

// turnWait is called while f waits for its turn, with the time that it has waited.
func (f *forwardedRequest) turnWait(waited time.Duration) error {
	holder := f.streams != nil && f.streams.ShouldGiveBack(f.addr, waited) || f.lease != nil && f.lease.ShouldGiveBack(waited)
	if holder {
		return pool.ErrGiveBack
	}
	return nil
}

// giveBack gives back the connection of a, the response to f.
func (f *forwardedRequest) giveBack(a *client.Response) {
	a.Detach()
	a.Conn = nil // Close must not return it again
	f.lease.GiveBack()
}

// askAgain waits for the turn of f, which has given its connection back, sends the request
// again, and the response to the client. It returns what forward does.
func (g *Gateway) askAgain(w *server.Response, f *forwardedRequest) error {
	w.Reset()
	f.responseOptions = nil
	w.WaitForTurn() // it fails if the client has gone, and then so does the next call
	return g.exchange(w, f, g.Pool.ReserveAgain(f.reservation, w.ClientAddr(), f.line))
}
