// Package engine sends many requests to a backend on one connection, without a
// goroutine for each: pipelining, from the client's side.
//
// A Registry holds the engines of one client of a gateway. The caller pushes a Job, a
// request and a sink for its response; the engine for the backend, created with the
// first job, opens a Lane and carries the jobs there and back:
//
//	p := pool.New(pool.DefaultLimits)
//	defer p.Close()
//	var counts engine.Counts
//	var registry engine.Registry
//	defer registry.OnClientGone()
//	timeouts := client.DefaultTimeouts
//	create := func() *engine.Engine {
//		at := p.Reserve(addr, netip.Addr{}, &registry.Line) // now, in the order of the requests
//		e := engine.New(func(ctx context.Context, again bool) (engine.Lane, error) {
//			l, err := p.Claim(ctx, at, &timeouts)
//			return engine.OpenHTTP1Lane(ctx, l, err, &timeouts, 32)
//		}, 20*time.Millisecond, &counts)
//		e.Number = at.Number
//		return e
//	}
//	var done sync.WaitGroup
//	for _, path := range []string{"/a", "/b", "/c"} {
//		done.Add(1)
//		job := &engine.Job{
//			Request: &client.Request{Method: []byte("GET"), Target: []byte(path), Host: []byte(addr)},
//			Sink:    &printer{done: &done}, // its Data prints the body, its End calls done.Done
//		}
//		if !registry.Push(addr, job, create) {
//			log.Fatal("no engine takes the job") // a gateway sends the request itself, with Pool.RoundTrip
//		}
//	}
//	done.Wait()
//
// Two laws hold. Every job that Push has accepted ends exactly once: with its own
// complete response, with an error, or withdrawn. And only requests that may be sent
// twice are pushed, idempotent and without a body, because a connection that ends
// leaves open which of its requests the backend has processed (RFC 9112 §9.3.2).
//
// A backend that speaks HTTP/2 needs one Multiplexer for all clients instead, and no
// registry: over HTTP/2 a response names its request, so clients can share a connection
// (Multiplexer.Push), and a request with a body can be sent too (Multiplexer.RoundTrip).
//
// A caller that wants to wait for its response, as a load generator does, uses
// NewPipeline instead: it has a connection of its own, no pool, and no retries.
package engine
