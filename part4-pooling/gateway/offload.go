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
// waits for the responses.

// EngineOptions are the gateway's for its engines. Answers wait in the slots of
// the client's connection, whose bound is in limits.go, and in no other place. So
// an engine adds to it no more than
//
//	BufferSize + (2 × depth + MaxQueue) × head
//
// for what it reads, for requests as they are sent, and for those in its queue
// whose slots have been answered without it.
type EngineOptions struct {
	depth    int           // requests on a connection at once
	IdleTime time.Duration // that an engine stays when it has nothing to do
}

var defaultEngineOptions = EngineOptions{
	depth:    32,                    // as many as part 3 takes from a connection
	IdleTime: 20 * time.Millisecond, // the next request of a client often follows the response
}

func (o *EngineOptions) AddFlags(f *flag.FlagSet) {
	*o = defaultEngineOptions
	f.IntVar(&o.depth, "engine-depth", o.depth, "requests that an engine has on its connection at once")
	f.DurationVar(&o.IdleTime, "engine-linger", o.IdleTime, "that an engine stays when it has nothing to do")
}

// Validate says what no engine can work with.
func (o *EngineOptions) Validate() error {
	if o.depth < 1 || o.IdleTime <= 0 {
		return errors.New("-engine-depth: want at least 1; -engine-linger: more than 0")
	}
	return nil
}

// MemoryBound is that sum.
func (o *EngineOptions) MemoryBound(head int) int64 {
	return int64(client.BufferSize + (2*o.depth+engine.MaxQueue)*head)
}

// An offloadedRequest is a request that was handed over: the job, and where its response goes.
type offloadedRequest struct {
	engine.Job
	gateway  *Gateway
	w        *server.Response
	response *client.Response // under way
	writeErr error            // nobody takes the rest of it
	addr     string
	forward  *forwardedRequest
}

var offloadedRequests = sync.Pool{New: func() any { return &offloadedRequest{forward: new(forwardedRequest).init()} }}

// Offload is the gateway's offloader: it gives a request to the engine of its
// backend, which is made if need be, unless that backend is not trusted with two
// requests on one connection. What it does not take gets a handler: what has no engine,
// is not safe, or has a body, for an engine may send a request twice, and others
// wait behind it; and what binds its connection (connauth.go).
func (g *Gateway) Offload(w *server.Response, r *server.Request) bool {
	p := g.backendFor(r.Path)
	return p != nil && !g.isPathConfusing(r.Path, p) && g.offloadTo(p, w, r)
}

// offloadTo is Offload for a request whose path belongs to backend, however it is read.
func (g *Gateway) offloadTo(backend *Backend, w *server.Response, r *server.Request) bool {
	if !backend.Engine || string(r.Method) == "TRACE" {
		return false
	}
	addr := backend.Addr
	p := offloadedRequests.Get().(*offloadedRequest)
	p.Job, p.gateway, p.w, p.addr = engine.Job{Request: &p.forward.Request, Sink: p}, g, w, addr
	w.DisableTimeout()
	p.forward.behindProxy = g.BehindProxy
	p.forward.build(w, r, addr)
	engines := registryFor(w)
	if p.forward.viaCount <= maxViaHops && p.forward.maxForwards != 0 && !p.forward.ConnAuth && !g.Pool.IsQuarantined(addr) && engines.Push(addr, &p.Job, func() *engine.Engine { return g.newEngine(engines, addr) }) {
		g.Counts.Requests.Add(1)
		return true
	}
	g.EngineCounts.Direct.Add(1)
	p.free()
	return false
}

// free forgets all of p but its memory.
func (p *offloadedRequest) free() {
	p.forward.reset()
	*p = offloadedRequest{forward: p.forward}
	offloadedRequests.Put(p)
}

// registryFor are the engines of w's client.
func registryFor(w *server.Response) *engine.Registry {
	return w.Attachment(func() server.Attachment { return new(engine.Registry) }).(*engine.Registry)
}

// New makes an engine for addr.
func (g *Gateway) newEngine(home *engine.Registry, addr string) *engine.Engine {
	place := g.Pool.Reserve(addr) // now, in the order of the requests: reserve.go
	home.NoteWaitLocked(place)
	open := func(ctx context.Context) (engine.Lane, error) {
		l, err := g.Pool.Claim(ctx, place, &g.Timeouts)
		return engine.OpenHTTP1Lane(ctx, l, err, &g.Timeouts, g.Engines.depth)
	}
	e := engine.New(open, g.Engines.IdleTime, &g.EngineCounts)
	e.Ticket, e.Contended = place.Ticket, func() bool { return g.Pool.Waiting.Load() > 0 }
	return e
}

func (p *offloadedRequest) Wanted() bool    { return p.w.Wanted() }
func (p *offloadedRequest) Committed() bool { return p.w.Committed() }

// Pause sends on what has come.
func (p *offloadedRequest) Pause() {
	if p.writeErr == nil {
		p.writeErr = p.w.Flush()
	}
}

func (p *offloadedRequest) Head(a *client.Response) {
	w := p.w
	w.Reset()
	p.response = a
	copyHead(w, a, p.forward.Method)
	if p.forward.wantsTrailers {
		p.forward.responseOptions = copyTrailerField(w, a)
	}
}

func (p *offloadedRequest) Data(piece []byte) error {
	if p.writeErr == nil {
		_, p.writeErr = p.w.Write(piece)
	}
	return p.writeErr
}

// End fills the slot. The exchange and p may be used for another request as
// soon as it has.
func (p *offloadedRequest) End(why error) engine.Flusher {
	w := p.w
	switch {
	case why == nil && p.response != nil && p.forward.wantsTrailers:
		w.WriteTrailers(allowedTrailers(p.response.Trailers, p.forward.responseOptions))
	case why == nil:
	case w.Committed():
		p.gateway.Counts.Truncated.Add(1)
		w.Abort()
	default:
		p.gateway.sendError(w, p.addr, why)
	}
	p.free()
	if owed := w.Complete(); owed != nil {
		return owed
	}
	return nil
}
