package main

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

// lineUp is the gateway's taker. It gives a request to an engine, or takes its
// place for the handler.
func (g *gateway) lineUp(w *response, r *request) (taken bool) {
	if g.handOver(w, r) {
		return true
	}
	if p := g.backendFor(r.path); p != nil && !g.elsewhere(r.path, p) {
		f := g.newForward(w, r, p.addr)
		if f.queues = f.asks(r); f.queues {
			f.place = g.pool.ask(p.addr)
			if f.place.w != nil {
				enginesOf(w).waitsFor(f.place)
			}
		}
		w.prepare(f)
	}
	return false
}

// linedUp is what lineUp has prepared; or it is prepared now, for who was not asked.
func (g *gateway) linedUp(w *response, r *request, addr string) *forward {
	if f, ok := w.prepared().(*forward); ok {
		return f
	}
	return g.newForward(w, r, addr)
}

func (g *gateway) newForward(w *response, r *request, addr string) *forward {
	f := forwards.Get().(*forward)
	w.untime() // 504 is more than that a handler was late
	f.trusts = g.trusts
	f.take(w, r, addr)
	return f
}

// asks says whether the request goes to a backend: others are answered here.
func (f *forward) asks(r *request) bool {
	return f.vias <= maxVias && f.left != 0 && string(r.method) != "TRACE"
}
