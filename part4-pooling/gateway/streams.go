package gateway

import (
	"cmp"

	"socketup/part4-pooling/engine"
	"socketup/part4-pooling/server"
)

// Requests for a backend that speaks HTTP/2 become streams on connections that all clients
// share (engine/multiplexer.go). A safe request without a body is pushed by the server's
// driver, as to an engine, and has no handler. Any other is sent by its handler.

// pushStream pushes p to the backend's queue. It never waits.
func (g *Gateway) pushStream(addr string, w *server.Response, p *offloadedRequest) bool {
	if p.forward.ConnAuth {
		return false // its handler refuses it
	}
	p.forward.streams = g.Streams
	return g.Streams.Push(addr, w.ClientAddr(), &p.Job)
}

// forwardStream sends f over HTTP/2, and its response to the client. It returns when both are
// complete. An error means that no part of the response has been sent.
func (g *Gateway) forwardStream(w *server.Response, f *forwardedRequest, addr string) error {
	if f.ConnAuth {
		return errConnAuth
	}
	p := &handledRequest{offloadedRequest: offloadedRequest{gateway: g, w: w, addr: addr, forward: f}}
	p.Job = engine.Job{Request: &f.Request, Sink: p}
	f.streams = g.Streams
	if err := g.Streams.RoundTrip(addr, w.ClientAddr(), &p.Job); err != nil {
		return err
	}
	if p.err != nil && w.Committed() {
		g.Counts.Truncated.Add(1)
		w.Abort()
		return nil
	}
	return p.err
}

// A handledRequest is the job of a request whose handler waits for its end.
type handledRequest struct {
	offloadedRequest
	err error
}

// End leaves the rest to the handler.
func (p *handledRequest) End(why error) engine.Flusher {
	p.err = cmp.Or(why, p.refused)
	return nil
}
