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
// connections the circle is longer and just as closed. As it is, a request gets a
// connection only when all before it in its line have theirs (line.go in pool). So
// who has one waits for nobody but its backend, its client, and others who have
// one too.
//
// A request that is alone in its line (handlerio.go) needs no place in advance: all
// before it is answered, and nothing behind it has been read.

// OffloadOrReserve is the gateway's offloader. It gives a request to an engine, or takes its
// place for the handler.
func (g *Gateway) OffloadOrReserve(w *server.Response, r *server.Request) (taken bool) {
	if g.Offload(w, r) {
		return true
	}
	if p := g.backendFor(r.Path); p != nil && !g.isPathConfusing(r.Path, p) {
		f := g.newForwardedRequest(w, r, p.Addr)
		if f.reserved = f.goesToBackend(r); f.reserved {
			f.reservation = g.Pool.Reserve(p.Addr, w.ClientAddr(), &registryFor(w).Line)
		}
		w.SetHandlerData(f)
	}
	return false
}

// reservedForward is what lineUp has prepared; or it is prepared now, for who was not asked.
func (g *Gateway) reservedForward(w *server.Response, r *server.Request, addr string) *forwardedRequest {
	if f, ok := w.TakeHandlerData().(*forwardedRequest); ok {
		return f
	}
	return g.newForwardedRequest(w, r, addr)
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
