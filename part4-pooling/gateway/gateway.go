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
//	before a byte of the answer is out   what goes wrong is a 502, 503 or 504 that says what
//	after that                           it is a cut: the client sees that it is not whole
type Gateway struct {
	Pool       *pool.Pool
	Prefixes   []Prefix // the longest first
	Timeouts   client.Timeouts
	Counts     Counts
	Shows      bool     // clients are told which backend failed (failures.go)
	AdminNames []string // by which it may be asked (admin.go)
	Trusts     bool     // clients are proxies: what they say of their clients is passed on (claims.go)

	Engines      EngineOptions // handover.go
	EngineCounts engine.Counts
}

type Counts struct {
	Requests, Refused, Gateway, Unavailable, Timeout, Cut atomic.Uint64
}

const keptBody = 16 << 10 // bytes of a body that is read before it is sent: then it can be sent twice

var (
	errCircle  = errors.New("the request goes round in a circle: it came through too many gateways")
	errNoTrace = errors.New("TRACE is not forwarded: it would show what gateways add to a request, to whoever asks")
)

func New(p *pool.Pool, prefixes []Prefix) *Gateway {
	g := &Gateway{Pool: p, Prefixes: slices.Clone(prefixes), Timeouts: client.DefaultTimeouts, Engines: engineDefaults}
	g.Timeouts.Total = 0 // a download may take as long as it goes on: head and idle are limits enough
	for i, p := range g.Prefixes {
		g.Prefixes[i] = p.trimmed()
	}
	slices.SortStableFunc(g.Prefixes, func(a, b Prefix) int { return len(b.Path) - len(a.Path) })
	return g
}

// backendFor finds the backend that answers for path as it is; nil for none.
func (g *Gateway) backendFor(path []byte) *Prefix {
	for i := range g.Prefixes {
		p := &g.Prefixes[i]
		if p.Path == "/" || bytes.HasPrefix(path, []byte(p.Path)) && (len(path) == len(p.Path) || path[len(p.Path)] == '/') {
			return p
		}
	}
	return nil
}

// elsewhere says whether path, which belongs to p, can be read as one that does
// not (paths.go).
func (g *Gateway) elsewhere(path []byte, p *Prefix) bool {
	return elsewhere(path, func(reading []byte) bool { return g.backendFor(reading) != p })
}

// Handler answers what has a backend, and leaves the rest to others.
func (g *Gateway) Handler(others server.Handler) server.Handler {
	return func(w *server.Response, r *server.Request) {
		p := g.backendFor(r.Path)
		switch {
		case g.elsewhere(r.Path, p):
			g.Counts.Requests.Add(1)
			g.Counts.Refused.Add(1)
			w.Error(400, "the path can be read in two ways, and they belong to different backends")
			return
		case p == nil:
			others(w, r)
			return
		}
		g.Counts.Requests.Add(1)
		f := g.linedUp(w, r, p.Addr)
		defer f.free()
		if err := g.forward(w, r, f, p.Addr); err != nil {
			g.refuse(w, p.Addr, err)
		}
	}
}

// forward asks the backend at addr and passes the answer on.
func (g *Gateway) forward(w *server.Response, r *server.Request, f *forward, addr string) error {
	switch {
	case f.vias > maxVias:
		return errCircle
	case string(r.Method) == "TRACE":
		return errNoTrace
	case f.left == 0: // MUST NOT, RFC 9110 §7.6.2: we are the one who is asked
		w.Status = 204
		w.SetField("Allow", "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS")
		return nil
	case r.Body != nil:
		if err := f.takeBody(r); err != nil {
			return err
		}
	}
	if !f.queues { // it is alone in its line
		f.place = g.Pool.Ask(addr)
	}
	a, err := g.Pool.RoundTripAt(w.Context(), f.place, &f.Call, &g.Timeouts)
	if err != nil {
		return err
	}
	defer a.Close()
	return g.pass(w, f, a)
}

// takeBody reads a short body; a long one is read as it is sent, and one that
// waits for 100 Continue when the backend wants it.
func (f *forward) takeBody(r *server.Request) error {
	if r.Length == http1.Chunked || r.Length > keptBody || r.Expected {
		f.upload.Body = r.Body
		f.Stream, f.Length, f.Expects = &f.upload, r.Length, r.Expected
		return nil
	}
	f.Body = slices.Grow(f.Body, int(r.Length))[:r.Length]
	if _, err := io.ReadFull(r.Body, f.Body); err != nil {
		return fmt.Errorf("%w: %w", client.ErrUpload, err)
	}
	return nil
}

// pass passes an answer on. It returns an error as long as nothing is out.
func (g *Gateway) pass(w *server.Response, f *forward, a *client.Answer) error {
	passHead(w, a, f.Method)
	if f.trailers {
		f.behind = passTrailer(w, a)
	}
	for {
		piece, err := a.Taken()
		if piece == nil && err == nil {
			if w.Flush() != nil { // what has come must not wait for what has not
				return nil // nobody reads any more
			}
			err = a.More()
		}
		if err == nil {
			_, err = w.Write(piece)
		}
		switch {
		case err == io.EOF && f.trailers:
			return w.EndWith(passable(a.Trailers, f.behind))
		case err == io.EOF:
			return nil
		case err != nil && !w.Begun():
			return err
		case err != nil:
			g.Counts.Cut.Add(1)
			w.BreakOff()
			return nil
		}
	}
}

// passHead passes on what an answer's head says, but for its framing.
func passHead(w *server.Response, a *client.Answer, method []byte) {
	w.Status = a.Status
	w.Fields = appendPassed(w.Fields, &a.Heading)
	head := string(method) == "HEAD"
	switch {
	case head && a.Says >= 0:
		w.SetLength(a.Says)
	case head:
		w.Flush() // no length is known: none is said
	case a.Length >= 0:
		w.SetLength(a.Length)
	}
}

// refuse says how the backend failed, and in the log which.
func (g *Gateway) refuse(w *server.Response, addr string, why error) {
	if errors.Is(why, client.ErrUpload) && !w.Begun() {
		w.Status = 0 // the client's own doing: the server tells it
		return
	} else if w.Left() {
		return // nobody is there to be told
	}
	status, count := 502, &g.Counts.Gateway
	switch {
	case errors.Is(why, client.ErrConnectTimeout), errors.Is(why, client.ErrHeadTimeout), errors.Is(why, client.ErrBodyTimeout), errors.Is(why, client.ErrTotalTimeout):
		status, count = 504, &g.Counts.Timeout
	case errors.Is(why, pool.ErrWaitTimeout), errors.Is(why, pool.ErrPoolClosed), shortage(why):
		status, count = 503, &g.Counts.Unavailable
	case errors.Is(why, errCircle):
		status, count = 508, &g.Counts.Refused
	case errors.Is(why, errNoTrace):
		status, count = 501, &g.Counts.Refused
	}
	count.Add(1)
	w.Restart()
	if status == 503 {
		w.SetField("Retry-After", "1")
	}
	switch {
	case count == &g.Counts.Refused:
		w.Error(status, why.Error())
		return
	case g.Shows:
		w.Error(status, fmt.Sprintf("backend http://%s: %v", addr, why))
	default:
		w.Error(status, "the backend: "+kindOf(why))
	}
	w.Log().Warn(fmt.Sprintf("backend %s: %d", addr, status), "error", why)
}
