package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// A gateway is a handler that asks a backend. Whatever it reads from one side
// it writes to the other before it reads more: a slow reader on either side
// makes the other wait, and no memory grows.
//
//	before a byte of the answer is out   what goes wrong is a 502, 503 or 504 that says what
//	after that                           it is a cut: the client sees that it is not whole
type gateway struct {
	pool     *pool
	prefixes []prefix // the longest first
	t        timeouts
	counts   gatewayCounts

	engines      engineOptions // handover.go
	engineCounts engineCounts
}

// A prefix of paths, and the backend that answers for them.
type prefix struct{ path, addr string }

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
	slices.SortStableFunc(g.prefixes, func(a, b prefix) int { return len(b.path) - len(a.path) })
	return g
}

// parsePrefix reads [PATH=]http://ADDRESS.
func parsePrefix(s string) (prefix, error) {
	path, rest := "/", s
	if strings.HasPrefix(s, "/") {
		path, rest, _ = strings.Cut(s, "=")
	}
	u, err := url.Parse(rest)
	if err != nil || u.Scheme != "http" || u.Path != "" && u.Path != "/" {
		return prefix{}, fmt.Errorf("bad backend %q: want http://127.0.0.1:9000 or /path=http://127.0.0.1:9000", s)
	}
	_, _, err = sockaddr(u.Host)
	return prefix{path, u.Host}, err
}

// backendFor is the address that answers for path.
func (g *gateway) backendFor(path []byte) (addr string, found bool) {
	for _, p := range g.prefixes {
		rest, ok := bytes.CutPrefix(path, []byte(strings.TrimSuffix(p.path, "/")))
		if ok && (len(rest) == 0 || rest[0] == '/') {
			return p.addr, true
		}
	}
	return "", false
}

// handler answers what has a backend, and leaves the rest to others.
func (g *gateway) handler(others handler) handler {
	return func(w *response, r *request) {
		addr, found := g.backendFor(r.path)
		if !found {
			others(w, r)
			return
		}
		g.counts.Requests.Add(1)
		f := forwards.Get().(*forward)
		defer f.free()
		if err := g.forward(w, r, f, addr); err != nil {
			g.refuse(w, addr, err)
		}
	}
}

// forward asks the backend at addr and passes the answer on.
func (g *gateway) forward(w *response, r *request, f *forward, addr string) error {
	f.take(w, r, peerOf(w.x.c), addr)
	switch {
	case f.vias > maxVias:
		return errCircle
	case string(r.method) == "TRACE":
		return errNoTrace
	case f.left == 0: // MUST NOT, RFC 9110 §7.6.2: we are the one who is asked
		allow(w, known[:6])
		return nil
	case r.body != nil:
		if err := f.takeBody(r); err != nil {
			return err
		}
	}
	a, err := g.pool.roundTrip(&front{w: w, c: w.x.c}, addr, &f.call, &g.t)
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
	passHead(w, a)
	if f.trailers {
		passTrailer(w, a)
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
			return w.endWith(a.trailers)
		case err == io.EOF:
			return nil
		case err != nil && !w.x.begun:
			return err
		case err != nil:
			g.counts.Cut.Add(1)
			w.x.breakOff()
			return nil
		}
	}
}

// passHead passes on what an answer's head says, but for its framing.
func passHead(w *response, a *answer) {
	w.status = a.status
	w.fields = appendPassed(w.fields, &a.heading)
	head := string(w.x.req.method) == "HEAD"
	switch {
	case head && a.says >= 0:
		w.size(a.says)
	case head:
		w.flush() // no length is known: none is said
	case a.length >= 0:
		w.size(a.length)
	}
}

// refuse says which backend failed, and how.
func (g *gateway) refuse(w *response, addr string, why error) {
	if errors.Is(why, ErrUpload) && !w.x.begun {
		w.status = 0 // the client's own doing: the server tells it
		return
	} else if (&front{c: w.x.c}).left() {
		return // nobody is there to be told
	}
	status, count := 502, &g.counts.Gateway
	switch {
	case errors.Is(why, ErrConnectTimeout), errors.Is(why, ErrHeadTimeout), errors.Is(why, ErrBodyTimeout), errors.Is(why, ErrTotalTimeout):
		status, count = 504, &g.counts.Timeout
	case errors.Is(why, ErrWaitTimeout), errors.Is(why, ErrPoolClosed):
		status, count = 503, &g.counts.Unavailable
	case errors.Is(why, errCircle):
		status, count = 508, &g.counts.Refused
	case errors.Is(why, errNoTrace):
		status, count = 501, &g.counts.Refused
	}
	count.Add(1)
	*w = response{x: w.x, fields: w.fields[:0], body: w.body[:0]}
	if status == 503 {
		w.set("Retry-After", "1")
	}
	w.fail(status, fmt.Sprintf("backend http://%s: %v", addr, why))
}

// A front is the client of a request, as a context: done when it has reset its
// connection, or its time is up. Only who waits long enough to ask for Done
// pays for a channel. The context package may look at a front when the handler
// has returned and w is somebody else's: only the first Done looks at w.
type front struct {
	w    *response
	c    *conn
	done <-chan struct{} // nil until it is asked for
}

func (f *front) Done() <-chan struct{} {
	if f.done == nil {
		f.done = f.w.gone()
	}
	return f.done
}

func (f *front) Err() error {
	if f.left() {
		return context.Canceled
	}
	return nil
}

func (f *front) left() bool {
	if f.done == nil {
		f.c.mu.Lock()
		defer f.c.mu.Unlock()
		return f.c.dead != nil
	}
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

func (f *front) Deadline() (time.Time, bool) { return time.Time{}, false }
func (f *front) Value(any) any               { return nil }

// A backend may answer with any status; what the words behind it are is of no
// importance (RFC 9112 §4).
func init() {
	for status := 100; status < 600; status++ {
		if statusText[status] == "" {
			statusText[status] = strconv.Itoa(status) + " " + http.StatusText(status)
		}
	}
}
