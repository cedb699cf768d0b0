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
// connection. Its answer waits for its turn, behind an answer for which there is
// no connection: the two wait for each other. With several clients and several
// connections the circle is longer and just as closed. As it is, a request waits
// for connections of requests that asked before it, and for answers before its
// own, which asked before it too. So the oldest of all waits for nobody but its
// backend and its client, and what is older than all others moves on.
//
// A request that is alone in its line (handling.go) needs no place in advance: all
// before it is answered, and nothing behind it has been read.

// LineUp is the gateway's taker. It gives a request to an engine, or takes its
// place for the handler.
func (g *Gateway) LineUp(w *server.Response, r *server.Request) (taken bool) {
	if g.HandOver(w, r) {
		return true
	}
	if p := g.backendFor(r.Path); p != nil && !g.elsewhere(r.Path, p) {
		f := g.newForward(w, r, p.Addr)
		if f.queues = f.asks(r); f.queues {
			f.place = g.Pool.Ask(p.Addr)
			if f.place.W != nil {
				enginesOf(w).WaitsFor(f.place)
			}
		}
		w.Prepare(f)
	}
	return false
}

// linedUp is what lineUp has prepared; or it is prepared now, for who was not asked.
func (g *Gateway) linedUp(w *server.Response, r *server.Request, addr string) *forward {
	if f, ok := w.Prepared().(*forward); ok {
		return f
	}
	return g.newForward(w, r, addr)
}

func (g *Gateway) newForward(w *server.Response, r *server.Request, addr string) *forward {
	f := forwards.Get().(*forward)
	w.Untime() // 504 is more than that a handler was late
	f.trusts = g.Trusts
	f.take(w, r, addr)
	return f
}

// asks says whether the request goes to a backend: others are answered here.
func (f *forward) asks(r *server.Request) bool {
	return f.vias <= maxVias && f.left != 0 && string(r.Method) != "TRACE"
}
