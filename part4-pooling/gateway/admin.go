package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"socketup/part4-pooling/engine"
	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/pool"
	"socketup/part4-pooling/server"
	"socketup/part4-pooling/socket"
)

// The admin address, for the operator:
//
//	GET  /-/stats                  all counters, as JSON
//	GET  /-/metrics                the same for Prometheus
//	POST /-/drop?backend=ADDRESS   closes that backend's connections; without backend, all connections

// ProtectAdmin wraps the routes of the admin address: requests that another site's page
// may have made a browser send get 403, 415 or 421 and do not reach inside. It is no
// authentication: every program that can connect is served.
func (g *Gateway) ProtectAdmin(inside server.Handler) server.Handler {
	return func(w *server.Response, r *server.Request) {
		if status, why := g.crossOriginError(r); status != 0 {
			w.Error(status, why)
			return
		}
		inside(w, r)
	}
}

// crossOriginError returns the status and reason for refusing r, or 0. A page of another
// site can make the operator's browser send requests here. It cannot read the responses,
// but /-/drop works without that; and if the site's own name resolves to this address
// (DNS rebinding), the browser takes both for one origin.
func (g *Gateway) crossOriginError(r *server.Request) (status int, why string) {
	origin, site := r.Get("origin"), r.Get("sec-fetch-site")
	switch {
	case !g.isAdminHost(r.Host):
		return 421, "Host must be an IP address, localhost or an -admin-name"
	case origin != nil && string(origin) != "http://"+string(r.Host):
		return 403, "requests from pages of another origin are refused"
	case site != nil && string(site) != "same-origin" && string(site) != "none":
		return 403, "requests from pages of another site are refused"
	case !r.IsSafe() && isFormType(r.Get("content-type")):
		return 415, "form submissions are refused: send no body and no Content-Type"
	}
	return 0, ""
}

// isAdminHost reports whether host, with or without a port, is a name for the admin
// address. An empty one is allowed: browsers always send Host.
func (g *Gateway) isAdminHost(host []byte) bool {
	name := strings.ToLower(string(host))
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, ']') {
		name = name[:colon]
	}
	_, err := netip.ParseAddr(strings.Trim(name, "[]"))
	ours := func(n string) bool { return strings.EqualFold(n, name) }
	return err == nil || name == "" || name == "localhost" || slices.ContainsFunc(g.AdminNames, ours)
}

// isFormType reports whether a browser sends a body of this type to another origin
// without a CORS preflight (Fetch standard, "CORS-safelisted request-header").
func isFormType(kind []byte) bool {
	kind, _, _ = bytes.Cut(kind, []byte(";"))
	kind = http1.TrimSpace(kind)
	return http1.EqualFold(kind, "application/x-www-form-urlencoded") || http1.EqualFold(kind, "multipart/form-data") || http1.EqualFold(kind, "text/plain")
}

// Stats are the Counts at one moment, as /-/stats shows them.
type Stats struct {
	Requests    uint64 `json:"requests"`    // for a backend
	Refused     uint64 `json:"refused"`     // 400, 501, 508: not forwarded
	Gateway     uint64 `json:"gateway"`     // 502: the backend failed
	Unavailable uint64 `json:"unavailable"` // 503: no connection to be had
	Timeout     uint64 `json:"timeout"`     // 504: the backend did not respond in time
	Truncated   uint64 `json:"truncated"`   // responses that broke off after their first byte was sent
}

// Snapshot reads the counters one after another, without a lock.
func (c *Counts) Snapshot() Stats {
	return Stats{c.Requests.Load(), c.Refused.Load(), c.Gateway.Load(), c.Unavailable.Load(), c.Timeout.Load(), c.Truncated.Load()}
}

// ServeStats writes the counters of the gateway, its engines and its pool as JSON.
func (g *Gateway) ServeStats(w *server.Response, _ *server.Request, _ []byte) {
	w.AddField("Content-Type", "application/json")
	text, _ := json.MarshalIndent(struct {
		Gateway Stats        `json:"gateway"`
		Engines engine.Stats `json:"engines"`
		Pool    pool.Stats   `json:"pool"`
	}{g.Counts.Snapshot(), g.EngineCounts.Snapshot(), g.Pool.Stats()}, "", "  ") // numbers and strings: Marshal cannot fail
	w.Write(append(text, '\n'))
}

// ServeDrop closes the connections to the backend in the query, or to all backends
// (pool.Pool.DropAll): idle ones before it returns, leased ones when they are returned.
// It writes one line for each backend. The caller restricts it to POST.
func (g *Gateway) ServeDrop(w *server.Response, r *server.Request, _ []byte) {
	query, err := url.ParseQuery(string(r.Query))
	if err != nil {
		w.Error(400, "want /-/drop?backend=127.0.0.1:9000")
		return
	}
	var addrs []string
	for _, b := range g.Pool.Stats().Backends {
		addrs = append(addrs, b.Addr)
	}
	if query.Has("backend") {
		addrs = query["backend"]
	}
	w.AddField("Content-Type", "text/plain; charset=utf-8")
	w.Status = 200 // even if there is no backend, and so no body
	for _, addr := range addrs {
		fmt.Fprintf(w, "%s: %d idle connections closed; those in use close when they are returned\n", addr, g.Pool.DropAll(addr))
	}
}

// MaxAdminConnections is how many connections the admin address serves at a time: a
// scraper, and a few operators.
const MaxAdminConnections = 8

// StartAdmin serves inside, behind ProtectAdmin, on addr, an IP address and a port. It
// returns the address that it listens on and a function that stops accepting, lets the
// requests in progress finish and does not wait for them. It logs a warning if addr is
// not a loopback address.
func (g *Gateway) StartAdmin(addr string, inside server.Handler, log *slog.Logger) (at string, stop func(), err error) {
	fd, err := socket.Listen(addr, 16)
	if err != nil {
		return "", nil, err
	}
	at = socket.LocalAddr(fd).String()
	if !socket.LocalAddr(fd).Addr().Unmap().IsLoopback() {
		log.Warn("the admin address can be reached from other machines, and has no authentication", "addr", at)
	}
	limits := server.DefaultLimits
	limits.Connections = MaxAdminConnections
	s, err := server.New(fd, g.ProtectAdmin(inside), limits, log)
	if err != nil {
		return "", nil, err
	}
	s.KeepQueue = socket.IsInherited(addr)
	go s.Serve() // ends after stop, with the last connection; nothing waits for it
	return at, s.Stop, nil
}
