package main

import (
	"context"
	"errors"
	"flag"
	"sync"
	"time"
)

// Some backends work on the requests of one connection side by side: part 3
// does. For these a gateway can hand requests over to an engine, and no handler
// waits for the answers.

// engineOptions are the gateway's for its engines. Answers wait in the slots of
// the client's connection, whose bound is in limits.go, and in no other place. So
// an engine adds to it no more than
//
//	linkBuffer + (2 × depth + maxQueue) × head
//
// for what it reads, for requests as they are sent, and for those in its queue
// whose slots have been answered without it.
type engineOptions struct {
	depth  int           // requests on a connection at once
	linger time.Duration // that an engine stays when it has nothing to do
}

var engineDefaults = engineOptions{
	depth:  32,                    // as many as part 3 takes from a connection
	linger: 20 * time.Millisecond, // the next request of a client often follows the answer
}

func (o *engineOptions) flags(f *flag.FlagSet) {
	*o = engineDefaults
	f.IntVar(&o.depth, "engine-depth", o.depth, "requests that an engine has on its connection at once")
	f.DurationVar(&o.linger, "engine-linger", o.linger, "that an engine stays when it has nothing to do")
}

// check says what no engine can work with.
func (o *engineOptions) check() error {
	if o.depth < 1 || o.linger <= 0 {
		return errors.New("-engine-depth: want at least 1; -engine-linger: more than 0")
	}
	return nil
}

// bound is that sum.
func (o *engineOptions) bound(head int) int64 {
	return int64(linkBuffer + (2*o.depth+maxQueue)*head)
}

// A passage is a request that was handed over: the job, and where its answer goes.
type passage struct {
	job
	g    *gateway
	w    *response
	a    *answer // under way
	lost error   // nobody takes the rest of it
	addr string
	f    *forward
}

var passages = sync.Pool{New: func() any { return &passage{f: new(forward).made()} }}

// handOver is the gateway's taker: it gives a request to the engine of its
// backend, which is made if need be, unless that backend is not trusted with two
// calls on one connection. What it does not take gets a handler: what has no engine,
// is not safe, or has a body, for an engine may send a request twice, and others
// wait behind it; and what binds its connection (bound.go).
func (g *gateway) handOver(w *response, r *request) bool {
	backend := g.backendFor(r.path)
	if backend == nil || !backend.engine || string(r.method) == "TRACE" || g.elsewhere(r.path, backend) {
		return false
	}
	addr := backend.addr
	p := passages.Get().(*passage)
	p.job, p.g, p.w, p.addr = job{call: &p.f.call, to: p}, g, w, addr
	w.untime()
	p.f.trusts = g.trusts
	p.f.take(w, r, addr)
	engines := enginesOf(w)
	if p.f.vias <= maxVias && p.f.left != 0 && !p.f.bound && !g.pool.isWary(addr) && engines.push(addr, &p.job, func() *engine { return g.newEngine(engines, addr) }) {
		g.counts.Requests.Add(1)
		return true
	}
	g.engineCounts.Alone.Add(1)
	p.free()
	return false
}

// free forgets all of p but its memory.
func (p *passage) free() {
	p.f.reset()
	*p = passage{f: p.f}
	passages.Put(p)
}

// enginesOf are the engines of w's client.
func enginesOf(w *response) *registry {
	return w.guest(func() guest { return new(registry) }).(*registry)
}

// newEngine makes an engine for addr.
func (g *gateway) newEngine(home *registry, addr string) *engine {
	place := g.pool.ask(addr) // now, in the order of the requests: lineup.go
	home.note(place)
	open := func(ctx context.Context) (lane, error) {
		l, err := g.pool.claim(ctx, place, &g.t)
		return openPipe(ctx, l, err, &g.t, g.engines.depth)
	}
	e := newEngine(open, g.engines.linger, &g.engineCounts)
	e.ticket, e.crowded = place.ticket, func() bool { return g.pool.waiting.Load() > 0 }
	return e
}

func (p *passage) wanted() bool { return p.w.wanted() }
func (p *passage) begun() bool  { return p.w.begun() }

// pause sends on what has come.
func (p *passage) pause() {
	if p.lost == nil {
		p.lost = p.w.flush()
	}
}

func (p *passage) head(a *answer) {
	w := p.w
	w.restart()
	p.a = a
	passHead(w, a, p.f.method)
	if p.f.trailers {
		p.f.behind = passTrailer(w, a)
	}
}

func (p *passage) data(piece []byte) error {
	if p.lost == nil {
		_, p.lost = p.w.Write(piece)
	}
	return p.lost
}

// end fills the slot. The exchange and p may be used for another request as
// soon as it has.
func (p *passage) end(why error) flusher {
	w := p.w
	switch {
	case why == nil && p.a != nil && p.f.trailers:
		w.endWith(passable(p.a.trailers, p.f.behind))
	case why == nil:
	case w.begun():
		p.g.counts.Cut.Add(1)
		w.breakOff()
	default:
		p.g.refuse(w, p.addr, why)
	}
	p.free()
	if owed := w.deliver(); owed != nil {
		return owed
	}
	return nil
}
