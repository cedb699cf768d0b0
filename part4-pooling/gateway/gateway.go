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

// A Gateway is a handler that asks a backend. Whatever it reads from one side
// it writes to the other before it reads more: a slow reader on either side
// makes the other wait, and no memory grows.
//
//	before a byte of the response is out  what goes wrong is a 502, 503 or 504 that says what
//	after that                            it is a cut: the client sees that it is not whole
type Gateway struct {
	Pool         *pool.Pool
	Backends     []Backend // the longest first
	Timeouts     client.Timeouts
	Counts       Counts
	ShowBackends bool     // clients are told which backend failed (failures.go)
	AdminNames   []string // by which it may be asked (admin.go)
	BehindProxy  bool     // clients are proxies: what they say of their clients is passed on (proxyfields.go)

	Engines      EngineOptions // offload.go
	EngineCounts engine.Counts
}

type Counts struct {
	Requests, Refused, Gateway, Unavailable, Timeout, Truncated atomic.Uint64
}

const replayLimit = 16 << 10 // bytes of a body that is read before it is sent: then it can be sent twice

var (
	errLoop    = errors.New("the request goes round in a circle: it came through too many gateways")
	errNoTrace = errors.New("TRACE is not forwarded: it would show what gateways add to a request, to whoever asks")
)

func New(p *pool.Pool, prefixes []Backend) *Gateway {
	g := &Gateway{Pool: p, Backends: slices.Clone(prefixes), Timeouts: client.DefaultTimeouts, Engines: defaultEngineOptions}
	g.Timeouts.Total = 0 // a download may take as long as it goes on: head and idle are limits enough
	for i, p := range g.Backends {
		g.Backends[i] = p.normalized()
	}
	slices.SortStableFunc(g.Backends, func(a, b Backend) int { return len(b.Path) - len(a.Path) })
	return g
}

// backendFor finds the backend that answers for path as it is; nil for none.
func (g *Gateway) backendFor(path []byte) *Backend {
	for i := range g.Backends {
		p := &g.Backends[i]
		if p.Path == "/" || bytes.HasPrefix(path, []byte(p.Path)) && (len(path) == len(p.Path) || path[len(p.Path)] == '/') {
			return p
		}
	}
	return nil
}

// isPathConfusing says whether path, which belongs to p, can be read as one that does
// not (pathconfusion.go).
func (g *Gateway) isPathConfusing(path []byte, p *Backend) bool {
	if len(g.Backends) == 1 && g.Backends[0].Path == "/" {
		return false // all readings are for the same one
	}
	return anyReading(path, func(reading []byte) bool { return g.backendFor(reading) != p })
}

// Handler answers what has a backend, and leaves the rest to others.
func (g *Gateway) Handler(others server.Handler) server.Handler {
	return func(w *server.Response, r *server.Request) {
		p := g.backendFor(r.Path)
		f, confusing := g.prepared(w, r, p)
		switch {
		case confusing:
			g.Counts.Requests.Add(1)
			g.Counts.Refused.Add(1)
			w.Error(400, "the path can be read in two ways, and they belong to different backends")
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
		if err := g.forward(w, r, f, p.Addr); err != nil {
			g.sendError(w, p.Addr, err)
		}
	}
}

// forward asks the backend at addr and passes the response on.
func (g *Gateway) forward(w *server.Response, r *server.Request, f *forwardedRequest, addr string) error {
	switch {
	case f.viaCount > maxViaHops:
		return errLoop
	case string(r.Method) == "TRACE":
		return errNoTrace
	case f.maxForwards == 0: // MUST NOT, RFC 9110 §7.6.2: we are the one who is asked
		w.Status = 204
		w.AddField("Allow", "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS")
		return nil
	case r.Body != nil:
		if err := f.setBody(r); err != nil {
			return err
		}
	}
	if !f.reserved { // it is alone in its line
		f.reservation = g.Pool.Reserve(addr)
	}
	a, err := g.Pool.RoundTripReserved(w.Context(), f.reservation, &f.Request, &g.Timeouts)
	if err != nil {
		return err
	}
	defer a.Close()
	return g.copyResponse(w, f, a)
}

// setBody reads a short body; a long one is read as it is sent, and one that
// waits for 100 Continue when the backend wants it.
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

// copyResponse passes a response on. It returns an error as long as nothing is out.
func (g *Gateway) copyResponse(w *server.Response, f *forwardedRequest, a *client.Response) error {
	copyHead(w, a, f.Method)
	if f.wantsTrailers {
		f.responseOptions = copyTrailerField(w, a)
	}
	for {
		piece, err := a.TryNext()
		if piece == nil && err == nil {
			if w.Flush() != nil { // what has come must not wait for what has not
				return nil // nobody reads any more
			}
			err = a.WaitMore()
		}
		if err == nil {
			_, err = w.Write(piece)
		}
		switch {
		case err == io.EOF && f.wantsTrailers:
			return w.WriteTrailers(allowedTrailers(a.Trailers, f.responseOptions))
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

// copyHead passes on what a response's head says, but for its framing.
func copyHead(w *server.Response, a *client.Response, method []byte) {
	w.Status = a.Status
	w.FieldLines = appendForwardedFields(w.FieldLines, &a.ResponseHead)
	head := string(method) == "HEAD"
	switch {
	case head && a.ContentLength >= 0:
		w.SetLength(a.ContentLength)
	case head:
		w.Flush() // no length is known: none is said
	case a.Length >= 0:
		w.SetLength(a.Length)
	}
}

// sendError says how the backend failed, and in the log which.
func (g *Gateway) sendError(w *server.Response, addr string, why error) {
	if errors.Is(why, client.ErrUpload) && !w.Committed() {
		w.Status = 0 // the client's own doing: the server tells it
		return
	} else if w.ClientGone() {
		return // nobody is there to be told
	}
	status, count := 502, &g.Counts.Gateway
	switch {
	case errors.Is(why, client.ErrConnectTimeout), errors.Is(why, client.ErrHeadTimeout), errors.Is(why, client.ErrBodyTimeout), errors.Is(why, client.ErrTotalTimeout):
		status, count = 504, &g.Counts.Timeout
	case errors.Is(why, pool.ErrWaitTimeout), errors.Is(why, pool.ErrClosed), isLocalShortage(why):
		status, count = 503, &g.Counts.Unavailable
	case errors.Is(why, errLoop):
		status, count = 508, &g.Counts.Refused
	case errors.Is(why, errNoTrace):
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
