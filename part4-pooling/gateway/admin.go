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

// The gateway's own address, for whoever looks after it:
//
//	GET  /-/stats                  everything, as JSON
//	GET  /-/metrics                the same for Prometheus
//	POST /-/drop?backend=ADDRESS   closes that backend's connections; without backend, all
//
// admin lets inside, which has those, answer whom it may.
func (g *Gateway) ProtectAdmin(inside server.Handler) server.Handler {
	return func(w *server.Response, r *server.Request) {
		if status, why := g.crossOriginError(r); status != 0 {
			w.Error(status, why)
			return
		}
		inside(w, r)
	}
}

// crossOriginError says why r is not answered: it could be a page of somebody else's that
// makes the browser of somebody who may come here ask us. Such a page cannot read
// the response, but a drop needs none; and a name of its own that it lets point here
// (DNS rebinding) would make it one of our pages.
func (g *Gateway) crossOriginError(r *server.Request) (status int, why string) {
	origin, site := r.Get("origin"), r.Get("sec-fetch-site")
	switch {
	case !g.isAdminHost(r.Host):
		return 421, "the admin address is asked by its IP address, as localhost, or by an -admin-name"
	case origin != nil && string(origin) != "http://"+string(r.Host):
		return 403, "this is not for pages of another origin"
	case site != nil && string(site) != "same-origin" && string(site) != "none":
		return 403, "this is not for pages of another site"
	case !r.IsSafe() && isFormType(r.Get("content-type")):
		return 415, "this is not for forms: send no body and no Content-Type"
	}
	return 0, ""
}

// isAdminHost says whether host, and perhaps a port, may be how the admin address is
// called. A browser always says how.
func (g *Gateway) isAdminHost(host []byte) bool {
	name := strings.ToLower(string(host))
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, ']') {
		name = name[:colon]
	}
	_, err := netip.ParseAddr(strings.Trim(name, "[]"))
	ours := func(n string) bool { return strings.EqualFold(n, name) }
	return err == nil || name == "" || name == "localhost" || slices.ContainsFunc(g.AdminNames, ours)
}

// isFormType is for what a browser sends without asking us first (CORS, preflight).
func isFormType(kind []byte) bool {
	kind, _, _ = bytes.Cut(kind, []byte(";"))
	kind = http1.TrimSpace(kind)
	return http1.EqualFold(kind, "application/x-www-form-urlencoded") || http1.EqualFold(kind, "multipart/form-data") || http1.EqualFold(kind, "text/plain")
}

// Stats are the figures of Counts.
type Stats struct {
	Requests    uint64 `json:"requests"`
	Refused     uint64 `json:"refused"`     // 501, 508: ours
	Gateway     uint64 `json:"gateway"`     // 502: the backend failed
	Unavailable uint64 `json:"unavailable"` // 503: no connection came free
	Timeout     uint64 `json:"timeout"`     // 504: the backend did not answer
	Truncated   uint64 `json:"cut"`         // answers that broke off in the middle
}

func (c *Counts) Snapshot() Stats {
	return Stats{c.Requests.Load(), c.Refused.Load(), c.Gateway.Load(), c.Unavailable.Load(), c.Timeout.Load(), c.Truncated.Load()}
}

func (g *Gateway) ServeStats(w *server.Response, _ *server.Request, _ []byte) {
	w.AddField("Content-Type", "application/json")
	text, _ := json.MarshalIndent(struct {
		Gateway Stats        `json:"gateway"`
		Engines engine.Stats `json:"engines"`
		Pool    pool.Stats   `json:"pool"`
	}{g.Counts.Snapshot(), g.EngineCounts.Snapshot(), g.Pool.Stats()}, "", "  ") // numbers and strings: it cannot fail
	w.Write(append(text, '\n'))
}

// ServeMetrics writes what Prometheus reads: name, labels, value.
func (g *Gateway) ServeMetrics(w *server.Response, _ *server.Request, _ []byte) {
	w.AddField("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	c := g.Counts.Snapshot()
	writeMetricFamily(w, "gateway_requests_total", "counter", "Requests for a backend.")
	writeMetric(w, "gateway_requests_total", "", c.Requests)
	writeMetricFamily(w, "gateway_failures_total", "counter", "Requests that no backend answered to its end.")
	for _, f := range []struct {
		kind string
		n    uint64
	}{{"refused", c.Refused}, {"gateway", c.Gateway}, {"unavailable", c.Unavailable}, {"timeout", c.Timeout}, {"cut", c.Truncated}} {
		writeMetric(w, "gateway_failures_total", fmt.Sprintf("kind=%q", f.kind), f.n)
	}
	e := g.EngineCounts.Snapshot()
	writeMetricFamily(w, "engines", "gauge", "Engines at work.")
	writeMetric(w, "engines", "", e.Engines)
	writeMetricFamily(w, "engine_jobs_total", "counter", "Requests that were handed over, by how they ended.")
	writeMetric(w, "engine_jobs_total", "end=\"done\"", e.Done)
	writeMetric(w, "engine_jobs_total", "end=\"failed\"", e.Failed)
	writeMetric(w, "engine_jobs_total", "end=\"withdrawn\"", e.Withdrawn)
	backends := g.Pool.Stats().Backends
	writeMetricFamily(w, "pool_connections", "gauge", "Connections to a backend.")
	for _, b := range backends {
		writeMetric(w, "pool_connections", fmt.Sprintf("backend=%q,state=\"leased\"", b.Addr), uint64(b.Leased))
		writeMetric(w, "pool_connections", fmt.Sprintf("backend=%q,state=\"idle\"", b.Addr), uint64(b.Idle))
	}
	writeMetricFamily(w, "pool_waiting", "gauge", "Callers that wait for a connection.")
	for _, b := range backends {
		writeMetric(w, "pool_waiting", fmt.Sprintf("backend=%q", b.Addr), uint64(b.Waiting))
	}
	writeMetricFamily(w, "pool_events_total", "counter", "What happened to connections.")
	for _, b := range backends {
		for _, e := range b.Events() {
			writeMetric(w, "pool_events_total", fmt.Sprintf("backend=%q,event=%q", b.Addr, e.Name), e.Count)
		}
	}
}

func writeMetricFamily(w *server.Response, name, kind, help string) {
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

func writeMetric(w *server.Response, name, labels string, n uint64) {
	if labels != "" {
		labels = "{" + labels + "}"
	}
	fmt.Fprintf(w, "%s%s %d\n", name, labels, n)
}

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
	w.Status = 200 // there may be none
	for _, addr := range addrs {
		fmt.Fprintf(w, "%s: %d idle connections closed, those in use will be\n", addr, g.Pool.DropAll(addr))
	}
}

const MaxAdminConnections = 8 // at once: a scraper, and those who look why

// StartAdmin serves the admin address with inside, and returns how to stop it.
func (g *Gateway) StartAdmin(addr string, inside server.Handler, log *slog.Logger) (at string, stop func(), err error) {
	fd, err := socket.Listen(addr, 16)
	if err != nil {
		return "", nil, err
	}
	at = socket.LocalAddr(fd).String()
	if !socket.LocalAddr(fd).Addr().Unmap().IsLoopback() {
		log.Warn("the admin address can be reached from other machines, and asks nobody for a password", "addr", at)
	}
	limits := server.DefaultLimits
	limits.Connections = MaxAdminConnections
	s, err := server.New(fd, g.ProtectAdmin(inside), limits, log)
	if err != nil {
		return "", nil, err
	}
	go s.Serve() // until stop, and the end of those who are connected
	return at, s.Stop, nil
}
