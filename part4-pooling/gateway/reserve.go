package gateway

import "socketup/part4-pooling/server"

// Requests of one client that need connections to backends take their places in
// the pool's queue in the order in which they came:
//
//	the driver   takes a request off the connection, reserves its slot, and asks lineUp
//	lineUp       takes its place in the queue, which is never waiting for anything
//	the handler  waits for what its place brings, dials if that is a permit, and asks the backend
//
// If the handlers took the places, a later request could get the only
// connection. Its response waits for its turn, behind a response for which there is
// no connection: the two wait for each other. With several clients and several
// connections the circle is longer and just as closed. As it is, a request waits
// for connections of requests that asked before it, and for answers before its
// own, which asked before it too. So the oldest of all waits for nobody but its
// backend and its client, and what is older than all others moves on.
//
// A request that is alone in its line (handlerio.go) needs no place in advance: all
// before it is answered, and nothing behind it has been read.

// OffloadOrReserve is the gateway's offloader. It gives a request to an engine, or takes its
// place for the handler.
func (g *Gateway) OffloadOrReserve(w *server.Response, r *server.Request) (taken bool) {
	p := g.backendFor(r.Path)
	if confusing := g.isPathConfusing(r.Path, p); confusing || p == nil {
		w.SetHandlerData(checkedPath{confusing})
		return false
	}
	if g.offloadTo(p, w, r) {
		return true
	}
	f := g.newForwardedRequest(w, r, p.Addr)
	if f.reserved = f.goesToBackend(r); f.reserved {
		f.reservation = g.Pool.Reserve(p.Addr)
		if f.reservation.Waiter != nil {
			registryFor(w).NoteWait(f.reservation)
		}
	}
	w.SetHandlerData(f)
	return false
}

// A checkedPath tells the handler what OffloadOrReserve found out of a path that it has not passed on:
// all readings of a path are too much work to be done twice.
type checkedPath struct{ confusing bool }

// prepared returns what OffloadOrReserve has left for the handler: a request that is ready, nil for none,
// and whether its path is confusing. Who was not asked checks that now.
func (g *Gateway) prepared(w *server.Response, r *server.Request, p *Backend) (f *forwardedRequest, confusing bool) {
	switch left := w.TakeHandlerData().(type) {
	case *forwardedRequest:
		return left, false
	case checkedPath:
		return nil, left.confusing
	}
	return nil, g.isPathConfusing(r.Path, p)
}

func (g *Gateway) newForwardedRequest(w *server.Response, r *server.Request, addr string) *forwardedRequest {
	f := forwardedRequests.Get().(*forwardedRequest)
	w.DisableTimeout() // 504 is more than that a handler was late
	f.behindProxy = g.BehindProxy
	f.build(w, r, addr)
	return f
}

// goesToBackend says whether the request goes to a backend: others are answered here.
func (f *forwardedRequest) goesToBackend(r *server.Request) bool {
	return f.viaCount <= maxViaHops && f.maxForwards != 0 && string(r.Method) != "TRACE"
}
