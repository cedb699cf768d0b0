package gateway

import (
	"context"
	"errors"
	"flag"
	"sync"
	"time"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/engine"
	"socketup/part4-pooling/server"
)

// Some backends work on the requests of one connection side by side: part 3
// does. For these a gateway can hand requests over to an engine, and no handler
// waits for the answers.

// EngineOptions are the gateway's for its engines. Answers wait in the slots of
// the client's connection, whose bound is in limits.go, and in no other place. So
// an engine adds to it no more than
//
//	BufferSize + (2 × depth + MaxQueue) × head
//
// for what it reads, for requests as they are sent, and for those in its queue
// whose slots have been answered without it.
type EngineOptions struct {
	depth  int           // requests on a connection at once
	Linger time.Duration // that an engine stays when it has nothing to do
}

var engineDefaults = EngineOptions{
	depth:  32,                    // as many as part 3 takes from a connection
	Linger: 20 * time.Millisecond, // the next request of a client often follows the answer
}

func (o *EngineOptions) AddFlags(f *flag.FlagSet) {
	*o = engineDefaults
	f.IntVar(&o.depth, "engine-depth", o.depth, "requests that an engine has on its connection at once")
	f.DurationVar(&o.Linger, "engine-linger", o.Linger, "that an engine stays when it has nothing to do")
}

// Check says what no engine can work with.
func (o *EngineOptions) Check() error {
	if o.depth < 1 || o.Linger <= 0 {
		return errors.New("-engine-depth: want at least 1; -engine-linger: more than 0")
	}
	return nil
}

// Bound is that sum.
func (o *EngineOptions) Bound(head int) int64 {
	return int64(client.BufferSize + (2*o.depth+engine.MaxQueue)*head)
}

// A passage is a request that was handed over: the job, and where its answer goes.
type passage struct {
	engine.Job
	g    *Gateway
	w    *server.Response
	a    *client.Answer // under way
	lost error          // nobody takes the rest of it
	addr string
	f    *forward
}

var passages = sync.Pool{New: func() any { return &passage{f: new(forward).made()} }}

// HandOver is the gateway's taker: it gives a request to the engine of its
// backend, which is made if need be, unless that backend is not trusted with two
// calls on one connection. What it does not take gets a handler: what has no engine,
// is not safe, or has a body, for an engine may send a request twice, and others
// wait behind it; and what binds its connection (bound.go).
func (g *Gateway) HandOver(w *server.Response, r *server.Request) bool {
	backend := g.backendFor(r.Path)
	if backend == nil || !backend.Engine || string(r.Method) == "TRACE" || g.elsewhere(r.Path, backend) {
		return false
	}
	addr := backend.Addr
	p := passages.Get().(*passage)
	p.Job, p.g, p.w, p.addr = engine.Job{Call: &p.f.Call, To: p}, g, w, addr
	w.Untime()
	p.f.trusts = g.Trusts
	p.f.take(w, r, addr)
	engines := enginesOf(w)
	if p.f.vias <= maxVias && p.f.left != 0 && !p.f.Bound && !g.Pool.IsWary(addr) && engines.Push(addr, &p.Job, func() *engine.Engine { return g.newEngine(engines, addr) }) {
		g.Counts.Requests.Add(1)
		return true
	}
	g.EngineCounts.Alone.Add(1)
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
func enginesOf(w *server.Response) *engine.Registry {
	return w.Guest(func() server.Guest { return new(engine.Registry) }).(*engine.Registry)
}

// New makes an engine for addr.
func (g *Gateway) newEngine(home *engine.Registry, addr string) *engine.Engine {
	place := g.Pool.Ask(addr) // now, in the order of the requests: lineup.go
	home.Note(place)
	open := func(ctx context.Context) (engine.Lane, error) {
		l, err := g.Pool.Claim(ctx, place, &g.Timeouts)
		return engine.OpenPipe(ctx, l, err, &g.Timeouts, g.Engines.depth)
	}
	e := engine.New(open, g.Engines.Linger, &g.EngineCounts)
	e.Ticket, e.Crowded = place.Ticket, func() bool { return g.Pool.Waiting.Load() > 0 }
	return e
}

func (p *passage) Wanted() bool { return p.w.Wanted() }
func (p *passage) Begun() bool  { return p.w.Begun() }

// Pause sends on what has come.
func (p *passage) Pause() {
	if p.lost == nil {
		p.lost = p.w.Flush()
	}
}

func (p *passage) Head(a *client.Answer) {
	w := p.w
	w.Restart()
	p.a = a
	passHead(w, a, p.f.Method)
	if p.f.trailers {
		p.f.behind = passTrailer(w, a)
	}
}

func (p *passage) Data(piece []byte) error {
	if p.lost == nil {
		_, p.lost = p.w.Write(piece)
	}
	return p.lost
}

// End fills the slot. The exchange and p may be used for another request as
// soon as it has.
func (p *passage) End(why error) engine.Flusher {
	w := p.w
	switch {
	case why == nil && p.a != nil && p.f.trailers:
		w.EndWith(passable(p.a.Trailers, p.f.behind))
	case why == nil:
	case w.Begun():
		p.g.Counts.Cut.Add(1)
		w.BreakOff()
	default:
		p.g.refuse(w, p.addr, why)
	}
	p.free()
	if owed := w.Deliver(); owed != nil {
		return owed
	}
	return nil
}
