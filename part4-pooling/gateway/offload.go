package gateway

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"net/netip"
	"sync"
	"time"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/engine"
	"socketup/part4-pooling/server"
)

// Some backends process the requests of one connection in parallel, as part 3 does.
// For these a gateway can offload requests to an engine, and no handler waits for the
// responses.

// EngineOptions configure the engines of a gateway. Responses are buffered in the slots
// of the client's connection, whose bound is in server/limits.go, and nowhere else. So
// an engine adds no more memory to a client connection than
//
//	client.BufferSize + (2 × Depth + engine.MaxQueue) × head
//
// bytes: the read buffer, the requests being sent, and the queued requests whose slots
// already have another response, such as a timeout. The zero value is invalid: New and
// AddFlags set the defaults.
type EngineOptions struct {
	Depth    int           // requests in flight on one connection, at most
	IdleTime time.Duration // how long an engine without jobs keeps its connection
}

var defaultEngineOptions = EngineOptions{
	Depth:    32,                    // as many as part 3 reads ahead on a connection
	IdleTime: 20 * time.Millisecond, // a client's next request often follows the response
}

// AddFlags sets o to the defaults, and defines -engine-depth and -engine-idle in f.
func (o *EngineOptions) AddFlags(f *flag.FlagSet) {
	*o = defaultEngineOptions
	f.IntVar(&o.Depth, "engine-depth", o.Depth, "maximum number of requests in flight on an engine's connection")
	f.DurationVar(&o.IdleTime, "engine-idle", o.IdleTime, "how long an engine without requests keeps its connection")
}

// Validate returns an error that names the flags with values that no engine can work
// with.
func (o *EngineOptions) Validate() error {
	if o.Depth < 1 || o.IdleTime <= 0 {
		return errors.New("-engine-depth: want at least 1; -engine-idle: more than 0")
	}
	return nil
}

// MemoryBound returns the most memory in bytes that an engine adds to a client
// connection, where head is the size of the largest request head that the server
// accepts.
func (o *EngineOptions) MemoryBound(head int) int64 {
	return int64(client.BufferSize + (2*o.Depth+engine.MaxQueue)*head)
}

// An offloadedRequest is the job of a request, and the job's sink: it writes the
// response to the client. The engine owns it from Registry.Push until End.
type offloadedRequest struct {
	engine.Job
	gateway  *Gateway
	w        *server.Response
	response *client.Response // set by Head
	writeErr error            // why the rest of the response is not written
	refused  error            // why the response is not forwarded
	addr     string
	forward  *forwardedRequest
}

var offloadedRequests = sync.Pool{New: func() any { return &offloadedRequest{forward: new(forwardedRequest).init()} }}

// offloadTo pushes a request whose path belongs to backend, however it is read, to the
// backend's engine, which it creates if there is none, and returns true. It never waits.
//
// It returns false, and the server starts a handler, if the backend has no engine or is
// quarantined (it has sent unsolicited bytes, so it gets one request per connection), if
// the engine's queue is full, if the gateway answers the request itself, and if the
// request authenticates its connection (http1.IsConnAuth). The server does not offer
// unsafe requests or requests with a body: an engine may send a request twice, and
// others wait behind it.
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
	if p.forward.goesToBackend(r) && g.push(backend, w, p) {
		g.Counts.Requests.Add(1)
		return true
	}
	g.EngineCounts.Direct.Add(1)
	p.free()
	return false
}

// push gives p to an engine of the backend, and reports whether one took it.
func (g *Gateway) push(backend *Backend, w *server.Response, p *offloadedRequest) bool {
	addr := backend.Addr
	if backend.HTTP2 {
		return g.pushStream(addr, w, p)
	}
	engines := registryFor(w)
	return !p.forward.ConnAuth && !g.Pool.IsQuarantined(addr) && engines.Push(addr, &p.Job, func() *engine.Engine { return g.newEngine(engines, w.ClientAddr(), addr) })
}

// free recycles p and its memory.
func (p *offloadedRequest) free() {
	p.forward.reset()
	*p = offloadedRequest{forward: p.forward}
	offloadedRequests.Put(p)
}

// registryFor returns the registry of w's client connection: its engines, and its pool.Line.
func registryFor(w *server.Response) *engine.Registry {
	return w.Attachment(func() server.Attachment { return new(engine.Registry) }).(*engine.Registry)
}

// newEngine returns an engine for addr, with a reservation of a connection. Push calls it.
func (g *Gateway) newEngine(home *engine.Registry, client netip.Addr, addr string) *engine.Engine {
	place := g.Pool.Reserve(addr, client, &home.Line) // now, in the order of the requests: reserve.go
	open := func(ctx context.Context, again bool) (engine.Lane, error) {
		at, depth := place, g.Engines.Depth
		if again {
			at, depth = g.Pool.ReserveAgain(place, client, &home.Line), 1 // giveback.go
		}
		l, err := g.Pool.Claim(ctx, at, &g.Timeouts)
		return engine.OpenHTTP1Lane(ctx, l, err, &g.Timeouts, depth)
	}
	e := engine.New(open, g.Engines.IdleTime, &g.EngineCounts)
	e.Number = place.Number
	return e
}

func (p *offloadedRequest) Wanted() bool        { return p.refused == nil && p.w.Wanted() }
func (p *offloadedRequest) Committed() bool     { return p.w.Committed() }
func (p *offloadedRequest) Room() int           { return p.w.Room() }
func (p *offloadedRequest) WantsTrailers() bool { return p.forward.wantsTrailers }

// Pause sends what is buffered to the client.
func (p *offloadedRequest) Pause() error {
	if p.writeErr == nil {
		p.writeErr = p.w.Flush()
	}
	return p.writeErr
}

// AwaitTurn waits for the turn of the response, whose connection has been given back.
func (p *offloadedRequest) AwaitTurn() { p.w.WaitForTurn() } // if it fails the engine's ctx is done, or p is not wanted

// Head replaces an earlier response of which nothing was sent.
func (p *offloadedRequest) Head(a *client.Response) {
	w := p.w
	w.Reset()
	p.response, p.writeErr = a, a.CheckOptions()
	if p.writeErr != nil { // the engine discards it, and End answers
		p.refused = p.writeErr
		return
	}
	p.forward.holds(a)
	copyHead(w, a, p.forward)
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

// Trailers ends the response with its trailers, if the client wants them.
func (p *offloadedRequest) Trailers() error {
	if p.writeErr == nil && p.forward.wantsTrailers {
		p.writeErr = p.w.WriteTrailers(allowedTrailers(p.response.Trailers, p.forward.responseOptions))
	}
	return p.writeErr
}

// End completes the slot. From then on the exchange and p may be reused for another
// request.
func (p *offloadedRequest) End(why error) engine.Flusher {
	w := p.w
	why = cmp.Or(why, p.refused)
	switch {
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
