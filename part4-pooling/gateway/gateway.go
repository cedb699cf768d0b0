package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/engine"
	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/pool"
	"socketup/part4-pooling/server"
)

// A Gateway forwards requests to backends (RFC 9110 §3.7). It writes what it has read
// from one side to the other before it reads more: a slow reader on either side makes
// the other side wait, and no memory grows.
//
// When a backend fails, the client gets one of two things:
//
//	no byte of the response sent yet  a 502, 503 or 504 that names the kind of failure
//	part of the response sent         a truncated response, which the client can recognise as such
//
// The exported fields may be changed until the first request is handled; the counters
// are safe to read at any time.
type Gateway struct {
	Pool         *pool.Pool      // connections to the backends; its owner closes it, after the server has stopped
	Backends     []Backend       // sorted by New: the longest path first
	Timeouts     client.Timeouts // of each request to a backend
	Counts       Counts
	ShowBackends bool     // error responses include the backend's address and the full error (failures.go)
	AdminNames   []string // host names under which the admin address may be requested (admin.go)
	BehindProxy  bool     // every client is a trusted proxy: its X-Forwarded-* fields are forwarded (proxyfields.go)

	Engines      EngineOptions // offload.go
	EngineCounts engine.Counts
	Streams      *engine.Multiplexer // streams.go

	Responses   Responses // of the server that the gateway is in, if its OnServed is Responses.Observe
	BackendTime Histogram // from the request's arrival to the head of the backend's response; not of engines
}

// Counts are the counters of a Gateway. A request counts in at most one of the
// failures. Any goroutine may read them.
type Counts struct {
	Requests    atomic.Uint64 // for a backend, answered by it or not
	Refused     atomic.Uint64 // 400, 501, 508: not forwarded
	Gateway     atomic.Uint64 // 502
	Unavailable atomic.Uint64 // 503
	Timeout     atomic.Uint64 // 504
	Truncated   atomic.Uint64 // responses that broke off after their first byte was sent
}

const replayLimit = 16 << 10 // bytes; a request body up to this size is read before it is sent, so that it can be sent again

var (
	errLoop     = errors.New("forwarding loop: the request has passed through too many gateways")
	errNoTrace  = errors.New("TRACE is not forwarded: its response would show the fields that gateways add to a request")
	errConnAuth = errors.New("credentials that authenticate a connection are not forwarded over HTTP/2: clients share it") // http1.IsConnAuth
)

// New returns a gateway to the given backends, which it copies; there must be no two
// for one path (ValidateBackends). Connections come from p, which stays the caller's.
// It starts nothing: the caller gives Handler to a server.Server, and OffloadOrReserve
// as its Offloader.
func New(p *pool.Pool, backends []Backend) *Gateway {
	g := &Gateway{Pool: p, Backends: slices.Clone(backends), Timeouts: client.DefaultTimeouts, Engines: defaultEngineOptions}
	g.Timeouts.Total = 0 // a download may take any time while bytes arrive: Head and Idle are the limits
	g.Streams = engine.NewMultiplexer(p, &g.Timeouts, &g.EngineCounts)
	for i, b := range g.Backends {
		g.Backends[i] = b.normalized()
	}
	slices.SortStableFunc(g.Backends, func(a, b Backend) int { return len(b.Path) - len(a.Path) })
	return g
}

// backendFor returns the backend with the longest matching path, or nil. path is not
// normalized.
func (g *Gateway) backendFor(path []byte) *Backend {
	for i := range g.Backends {
		p := &g.Backends[i]
		if p.Path == "/" || bytes.HasPrefix(path, []byte(p.Path)) && (len(path) == len(p.Path) || path[len(p.Path)] == '/') {
			return p
		}
	}
	return nil
}

// isPathConfusing reports whether another program could read path, which belongs to p,
// as a path that does not (pathconfusion.go).
func (g *Gateway) isPathConfusing(path []byte, p *Backend) bool {
	if len(g.Backends) == 1 && g.Backends[0].Path == "/" {
		return false // all readings are for the same one
	}
	return anyReading(path, func(reading []byte) bool { return g.backendFor(reading) != p })
}

// Handler returns a handler that forwards requests whose path has a backend, and
// passes all other requests to others. An ambiguous path is a 400 (pathconfusion.go).
// Handlers run in parallel.
func (g *Gateway) Handler(others server.Handler) server.Handler {
	return func(w *server.Response, r *server.Request) {
		p := g.backendFor(r.Path)
		f, confusing := g.prepared(w, r, p)
		switch {
		case confusing:
			g.Counts.Requests.Add(1)
			g.Counts.Refused.Add(1)
			w.Error(400, "ambiguous path: it can be read in two ways, which belong to different backends")
			return
		case p == nil:
			others(w, r)
			return
		}
		g.Counts.Requests.Add(1)
		if f == nil {
			f = g.newForwardedRequest(w, r, p.Addr)
		}
		defer f.free()
		if err := g.forward(w, r, f, p); err != nil {
			g.sendError(w, p.Addr, err)
		}
	}
}

// forward sends r to the backend and the response to the client. An error
// means that no part of the response has been sent.
func (g *Gateway) forward(w *server.Response, r *server.Request, f *forwardedRequest, p *Backend) error {
	switch {
	case f.viaCount > maxViaHops:
		return errLoop
	case string(r.Method) == "TRACE":
		return errNoTrace
	case f.maxForwards == 0: // MUST NOT be forwarded, RFC 9110 §7.6.2: the gateway is the final recipient
		w.Status = 204
		w.AddField("Allow", "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS")
		return nil
	case r.Body != nil:
		if err := f.setBody(r); err != nil {
			return err
		}
	}
	if p.HTTP2 {
		return g.forwardStream(w, f, p.Addr)
	}
	if !f.reserved { // no other request of its connection is in progress: reserve.go
		f.reservation = g.Pool.Reserve(p.Addr, w.ClientAddr(), nil)
	}
	err := g.exchange(w, f, f.reservation)
	if errors.Is(err, pool.ErrGiveBack) {
		return g.askAgain(w, f)
	}
	return err
}

// exchange sends f on a connection that was reserved for it, and the response to the client.
// It returns what forward does, and pool.ErrGiveBack if f has given the connection back.
func (g *Gateway) exchange(w *server.Response, f *forwardedRequest, at pool.Reservation) error {
	a, err := g.Pool.RoundTripReserved(w.Context(), at, &f.Request, &g.Timeouts)
	if err != nil {
		return err
	}
	defer a.Close()
	if err := a.CheckOptions(); err != nil {
		return err
	}
	f.holds(a)
	if err = g.copyResponse(w, f, a); err == pool.ErrGiveBack {
		f.giveBack(a)
	}
	return err
}

// setBody reads a short body completely. A long one is read while it is sent, and one
// with Expect: 100-continue when the backend asks for it, or Timeouts.ContinueWait has passed.
func (f *forwardedRequest) setBody(r *server.Request) error {
	if r.Length == http1.Chunked || r.Length > replayLimit || r.ExpectContinue {
		f.upload.Body = r.Body
		f.Stream, f.Length, f.ExpectContinue = &f.upload, r.Length, r.ExpectContinue
		return nil
	}
	f.Body = slices.Grow(f.Body, int(r.Length))[:r.Length]
	if _, err := io.ReadFull(r.Body, f.Body); err != nil {
		return fmt.Errorf("%w: %w", client.ErrUpload, err)
	}
	return nil
}

// copyResponse sends a backend's response to the client. It returns an error only if
// no part of it has been sent; later it truncates the response.
func (g *Gateway) copyResponse(w *server.Response, f *forwardedRequest, a *client.Response) error {
	f.waited.stop(&g.BackendTime)
	copyHead(w, a, f)
	if f.wantsTrailers {
		f.responseOptions = copyTrailerField(w, a)
	}
	for {
		piece, err := a.TryNext()
		if piece == nil && err == nil {
			if err := w.Flush(); err == pool.ErrGiveBack { // bytes that have arrived must not wait for those that have not
				return err
			} else if err != nil {
				return nil // the client has gone
			}
			err = a.WaitMore()
		}
		if err == nil {
			_, err = w.Write(piece)
		}
		switch {
		case err == io.EOF && f.wantsTrailers:
			if err := w.WriteTrailers(allowedTrailers(a.Trailers, f.responseOptions)); err == pool.ErrGiveBack {
				return err
			}
			return nil // another error means that the client has gone
		case err == io.EOF:
			return nil
		case err != nil && !w.Committed():
			return err
		case err != nil:
			g.Counts.Truncated.Add(1)
			w.Abort()
			return nil
		}
	}
}

// copyHead copies the status and the end-to-end fields, and the length if it is known;
// the server writes the framing.
func copyHead(w *server.Response, a *client.Response, f *forwardedRequest) {
	if f.streams != nil && f.wantsTrailers && slices.ContainsFunc(a.Fields, isTrailerField) {
		a.Length = http1.Chunked // over HTTP/2 trailers may follow a body whose length is known
	}
	w.Status = a.Status
	w.FieldLines = appendForwardedFields(w.FieldLines, &a.ResponseHead, f.via(a.Minor))
	head := string(f.Method) == "HEAD"
	switch {
	case head && a.ContentLength >= 0:
		w.SetLength(a.ContentLength)
	case head:
		w.Flush() // the length is unknown: send the head without one
	case a.Length >= 0:
		w.SetLength(a.Length)
	}
}

// sendError answers a request that failed before any part of the response was sent. The
// client learns the kind of failure; the log gets the backend and the whole error.
func (g *Gateway) sendError(w *server.Response, addr string, why error) {
	if errors.Is(why, client.ErrUpload) && !w.Committed() {
		w.Status = 0 // the client's request body failed: the server chooses the status
		return
	} else if w.ClientGone() {
		return // no client to answer
	}
	status, count := 502, &g.Counts.Gateway
	switch {
	case errors.Is(why, client.ErrConnectTimeout), errors.Is(why, client.ErrHeadTimeout), errors.Is(why, client.ErrBodyTimeout), errors.Is(why, client.ErrTotalTimeout):
		status, count = 504, &g.Counts.Timeout
	case errors.Is(why, pool.ErrWaitTimeout), errors.Is(why, pool.ErrQueueFull), errors.Is(why, engine.ErrStreamQueueFull), errors.Is(why, pool.ErrClosed), isLocalShortage(why):
		status, count = 503, &g.Counts.Unavailable
	case errors.Is(why, errLoop):
		status, count = 508, &g.Counts.Refused
	case errors.Is(why, errNoTrace), errors.Is(why, errConnAuth):
		status, count = 501, &g.Counts.Refused
	}
	count.Add(1)
	w.Reset()
	if status == 503 {
		w.AddField("Retry-After", "1")
	}
	switch {
	case count == &g.Counts.Refused:
		w.Error(status, why.Error())
		return
	case g.ShowBackends:
		w.Error(status, fmt.Sprintf("backend http://%s: %v", addr, why))
	default:
		w.Error(status, "the backend: "+errorKind(why))
	}
	w.Log().Warn(fmt.Sprintf("backend %s: %d", addr, status), "error", why)
}
