package gateway

import "socketup/part4-pooling/server"

// The requests of one client reserve their connections to backends in the order in
// which they arrived:
//
//	the driver        parses a request, reserves its slot, and calls OffloadOrReserve
//	OffloadOrReserve  reserves a permit or a place in the pool's queue; it never waits
//	the handler       claims the reservation, which may wait and dial, and sends the request
//
// If the handlers made the reservations, a later request could get the only
// connection. Its response must wait for an earlier one, whose request waits for the
// connection: a deadlock. With several clients and connections the cycle can be longer.
// With ordered reservations a request gets a connection only when all earlier requests
// of its client connection have had theirs (pool/line.go). So a request that has one
// waits only for its backend, its client, and requests that have one too, and there is
// no cycle.
//
// A request whose response has to wait for its turn too long may give its connection back
// (giveback.go).
//
// A request that has its connection to itself (server/handlerio.go) can reserve in its
// handler: every earlier request is answered, and no later one has been read.

// OffloadOrReserve is the server.Offloader of a gateway. It offloads a request to an
// engine and returns true, or reserves a connection for the handler and returns false.
// It never waits. The driver calls it for one request at a time, in their order.
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
	if f.reserved = f.goesToBackend(r) && !p.HTTP2; f.reserved {
		f.line = &registryFor(w).Line
		f.reservation = g.Pool.Reserve(p.Addr, w.ClientAddr(), f.line)
	}
	w.SetHandlerData(f)
	return false
}

// A checkedPath tells the handler of a request that was not prepared whether its path is
// confusing: comparing the readings of a path is too much work to be done twice.
type checkedPath struct{ confusing bool }

// prepared returns the request that OffloadOrReserve prepared for the handler, or nil, and
// whether its path is confusing. A request that was not offered to it is checked now.
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
	w.DisableTimeout() // the gateway has its own timeouts, and its 504 says more than the server's
	f.behindProxy = g.BehindProxy
	f.waited.start()
	f.build(w, r, addr)
	return f
}

// goesToBackend reports whether r is forwarded; the gateway answers other requests itself.
func (f *forwardedRequest) goesToBackend(r *server.Request) bool {
	return f.viaCount <= maxViaHops && f.maxForwards != 0 && string(r.Method) != "TRACE"
}
