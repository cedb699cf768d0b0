package gateway

import (
	"fmt"

	"socketup/part4-pooling/engine"
	"socketup/part4-pooling/pool"
	"socketup/part4-pooling/server"
)

// ServeMetrics writes the counters in the Prometheus text format, version 0.0.4: all of
// ServeStats, and the responses by status and duration. Every name begins with socketup_;
// counters end in _total, and durations are in seconds.
func (g *Gateway) ServeMetrics(w *server.Response, _ *server.Request, _ []byte) {
	w.AddField("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	writeResponseMetrics(w, &g.Responses)
	writeGatewayMetrics(w, g.Counts.Snapshot())
	writeMetricFamily(w, "socketup_backend_response_seconds", "histogram", "Time from a request's arrival to the head of the backend's response, without engines.")
	g.BackendTime.write(w, "socketup_backend_response_seconds")
	writeEngineMetrics(w, g.EngineCounts.Snapshot())
	writePoolMetrics(w, g.Pool.Stats().Backends)
}

func writeResponseMetrics(w *server.Response, r *Responses) {
	writeMetricFamily(w, "socketup_responses_total", "counter", "Responses to clients, forwarded or not, by the first digit of the status.")
	for class := range r.byClass {
		code := "none" // the connection ended first
		if class > 0 {
			code = fmt.Sprintf("%dxx", class)
		}
		writeMetric(w, "socketup_responses_total", fmt.Sprintf("code=%q", code), r.byClass[class].Load())
	}
	writeMetricFamily(w, "socketup_response_duration_seconds", "histogram", "Time from the end of a request's head until its response was passed on to be written.")
	r.Duration.write(w, "socketup_response_duration_seconds")
}

func writeGatewayMetrics(w *server.Response, c Stats) {
	writeMetricFamily(w, "socketup_gateway_requests_total", "counter", "Requests for a backend.")
	writeMetric(w, "socketup_gateway_requests_total", "", c.Requests)
	writeMetricFamily(w, "socketup_gateway_failures_total", "counter", "Requests that got no complete response from a backend.")
	for _, f := range []struct {
		kind string
		n    uint64
	}{{"refused", c.Refused}, {"gateway", c.Gateway}, {"unavailable", c.Unavailable}, {"timeout", c.Timeout}, {"truncated", c.Truncated}} {
		writeMetric(w, "socketup_gateway_failures_total", fmt.Sprintf("kind=%q", f.kind), f.n)
	}
}

func writeEngineMetrics(w *server.Response, e engine.Stats) {
	writeMetricFamily(w, "socketup_engines", "gauge", "Engines running.")
	writeMetric(w, "socketup_engines", "", e.Engines)
	writeMetricFamily(w, "socketup_engine_jobs_total", "counter", "Requests offloaded to engines, by outcome.")
	writeMetric(w, "socketup_engine_jobs_total", `outcome="done"`, e.Done)
	writeMetric(w, "socketup_engine_jobs_total", `outcome="failed"`, e.Failed)
	writeMetric(w, "socketup_engine_jobs_total", `outcome="withdrawn"`, e.Withdrawn)
}

func writePoolMetrics(w *server.Response, backends []pool.BackendStats) {
	writeMetricFamily(w, "socketup_pool_connections", "gauge", "Connections to a backend, by state.")
	for _, b := range backends {
		writeMetric(w, "socketup_pool_connections", fmt.Sprintf("backend=%q,state=\"leased\"", b.Addr), uint64(b.Leased))
		writeMetric(w, "socketup_pool_connections", fmt.Sprintf("backend=%q,state=\"idle\"", b.Addr), uint64(b.Idle))
	}
	writeMetricFamily(w, "socketup_pool_waiting", "gauge", "Callers waiting for a connection.")
	for _, b := range backends {
		writeMetric(w, "socketup_pool_waiting", fmt.Sprintf("backend=%q", b.Addr), uint64(b.Waiting))
	}
	writeMetricFamily(w, "socketup_pool_events_total", "counter", "Connection events, by kind.")
	for _, b := range backends {
		for _, e := range b.Events() {
			writeMetric(w, "socketup_pool_events_total", fmt.Sprintf("backend=%q,event=%q", b.Addr, e.Name), e.Count)
		}
	}
}

// writeMetricFamily begins the metric name; its samples follow.
func writeMetricFamily(w *server.Response, name, kind, help string) {
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

func writeMetric(w *server.Response, name, labels string, n uint64) {
	if labels != "" {
		labels = "{" + labels + "}"
	}
	fmt.Fprintf(w, "%s%s %d\n", name, labels, n)
}
