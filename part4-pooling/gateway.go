package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
)

// A gateway is a handler that asks a backend. Whatever it reads from one side
// it writes to the other before it reads more: a slow reader on either side
// makes the other wait, and no memory grows.
//
//	before a byte of the answer is out   what goes wrong is a 502, 503 or 504 that says what
//	after that                           it is a cut: the client sees that it is not whole
type gateway struct {
	pool       *pool
	prefixes   []prefix // the longest first
	t          timeouts
	counts     gatewayCounts
	shows      bool     // clients are told which backend failed (failures.go)
	adminNames []string // by which it may be asked (admin.go)
	trusts     bool     // clients are proxies: what they say of their clients is passed on (claims.go)

	engines      engineOptions // handover.go
	engineCounts engineCounts
}

type gatewayCounts struct {
	Requests, Refused, Gateway, Unavailable, Timeout, Cut atomic.Uint64
}

const keptBody = 16 << 10 // bytes of a body that is read before it is sent: then it can be sent twice

var (
	errCircle  = errors.New("the request goes round in a circle: it came through too many gateways")
	errNoTrace = errors.New("TRACE is not forwarded: it would show what gateways add to a request, to whoever asks")
)

func newGateway(p *pool, prefixes []prefix) *gateway {
	g := &gateway{pool: p, prefixes: slices.Clone(prefixes), t: usual, engines: engineDefaults}
	g.t.total = 0 // a download may take as long as it goes on: head and idle are limits enough
	for i, p := range g.prefixes {
		g.prefixes[i] = p.trimmed()
	}
	slices.SortStableFunc(g.prefixes, func(a, b prefix) int { return len(b.path) - len(a.path) })
	return g
}

// backendFor finds the backend that answers for path as it is; nil for none.
func (g *gateway) backendFor(path []byte) *prefix {
	for i := range g.prefixes {
		p := &g.prefixes[i]
		if p.path == "/" || bytes.HasPrefix(path, []byte(p.path)) && (len(path) == len(p.path) || path[len(p.path)] == '/') {
			return p
		}
	}
	return nil
}

// elsewhere says whether path, which belongs to p, can be read as one that does
// not (paths.go).
func (g *gateway) elsewhere(path []byte, p *prefix) bool {
	return elsewhere(path, func(reading []byte) bool { return g.backendFor(reading) != p })
}

// handler answers what has a backend, and leaves the rest to others.
func (g *gateway) handler(others handler) handler {
	return func(w *response, r *request) {
		p := g.backendFor(r.path)
		switch {
		case g.elsewhere(r.path, p):
			g.counts.Requests.Add(1)
			g.counts.Refused.Add(1)
			w.fail(400, "the path can be read in two ways, and they belong to different backends")
			return
		case p == nil:
			others(w, r)
			return
		}
		g.counts.Requests.Add(1)
		f := g.linedUp(w, r, p.addr)
		defer f.free()
		if err := g.forward(w, r, f, p.addr); err != nil {
			g.refuse(w, p.addr, err)
		}
	}
}

// forward asks the backend at addr and passes the answer on.
func (g *gateway) forward(w *response, r *request, f *forward, addr string) error {
	switch {
	case f.vias > maxVias:
		return errCircle
	case string(r.method) == "TRACE":
		return errNoTrace
	case f.left == 0: // MUST NOT, RFC 9110 §7.6.2: we are the one who is asked
		w.status = 204
		w.set("Allow", "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS")
		return nil
	case r.body != nil:
		if err := f.takeBody(r); err != nil {
			return err
		}
	}
	if !f.queues { // it is alone in its line
		f.place = g.pool.ask(addr)
	}
	a, err := g.pool.roundTripAt(w.context(), f.place, &f.call, &g.t)
	if err != nil {
		return err
	}
	defer a.close()
	return g.pass(w, f, a)
}

// takeBody reads a short body; a long one is read as it is sent, and one that
// waits for 100 Continue when the backend wants it.
func (f *forward) takeBody(r *request) error {
	if r.length == chunked || r.length > keptBody || r.expected {
		f.upload.body = r.body
		f.stream, f.length, f.expects = &f.upload, r.length, r.expected
		return nil
	}
	f.body = slices.Grow(f.body, int(r.length))[:r.length]
	if _, err := io.ReadFull(r.body, f.body); err != nil {
		return fmt.Errorf("%w: %w", ErrUpload, err)
	}
	return nil
}

// pass passes an answer on. It returns an error as long as nothing is out.
func (g *gateway) pass(w *response, f *forward, a *answer) error {
	passHead(w, a, f.method)
	if f.trailers {
		f.behind = passTrailer(w, a)
	}
	for {
		piece, err := a.taken()
		if piece == nil && err == nil {
			if w.flush() != nil { // what has come must not wait for what has not
				return nil // nobody reads any more
			}
			err = a.more()
		}
		if err == nil {
			_, err = w.Write(piece)
		}
		switch {
		case err == io.EOF && f.trailers:
			return w.endWith(passable(a.trailers, f.behind))
		case err == io.EOF:
			return nil
		case err != nil && !w.begun():
			return err
		case err != nil:
			g.counts.Cut.Add(1)
			w.breakOff()
			return nil
		}
	}
}

// passHead passes on what an answer's head says, but for its framing.
func passHead(w *response, a *answer, method []byte) {
	w.status = a.status
	w.fields = appendPassed(w.fields, &a.heading)
	head := string(method) == "HEAD"
	switch {
	case head && a.says >= 0:
		w.size(a.says)
	case head:
		w.flush() // no length is known: none is said
	case a.length >= 0:
		w.size(a.length)
	}
}

// refuse says how the backend failed, and in the log which.
func (g *gateway) refuse(w *response, addr string, why error) {
	if errors.Is(why, ErrUpload) && !w.begun() {
		w.status = 0 // the client's own doing: the server tells it
		return
	} else if w.left() {
		return // nobody is there to be told
	}
	status, count := 502, &g.counts.Gateway
	switch {
	case errors.Is(why, ErrConnectTimeout), errors.Is(why, ErrHeadTimeout), errors.Is(why, ErrBodyTimeout), errors.Is(why, ErrTotalTimeout):
		status, count = 504, &g.counts.Timeout
	case errors.Is(why, ErrWaitTimeout), errors.Is(why, ErrPoolClosed), shortage(why):
		status, count = 503, &g.counts.Unavailable
	case errors.Is(why, errCircle):
		status, count = 508, &g.counts.Refused
	case errors.Is(why, errNoTrace):
		status, count = 501, &g.counts.Refused
	}
	count.Add(1)
	w.restart()
	if status == 503 {
		w.set("Retry-After", "1")
	}
	switch {
	case count == &g.counts.Refused:
		w.fail(status, why.Error())
		return
	case g.shows:
		w.fail(status, fmt.Sprintf("backend http://%s: %v", addr, why))
	default:
		w.fail(status, "the backend: "+kindOf(why))
	}
	w.log().Warn(fmt.Sprintf("backend %s: %d", addr, status), "error", why)
}
