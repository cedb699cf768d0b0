package main

import (
	"fmt"
	"io"
	"net/http"
	"testing"
)

// While one goroutine passes on a response, the reader of the connection asks at each tick
// whether it is still wanted. Only the race detector sees what this test looks for.
func TestTickLooksAtResponsesThatArePassedOn(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}), make(chan struct{})
	back := startHonest(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/leaves" {
			close(arrived)
			<-r.Context().Done()
			return
		}
		w.WriteHeader(103) // passed on by a goroutine of its own
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		<-release
		fmt.Fprint(w, "late")
	})
	r, g := startStreamGateway(t, back.addr)
	offloaded, handled := converse(t, r.addr, get("/", closeField)), converse(t, r.addr, post("/", "body", closeField))
	for _, c := range []io.Reader{offloaded, handled} {
		readUntil(t, c, "Transfer-Encoding: chunked\r\n")
	}

	leaves := converse(t, r.addr, get("/leaves"))
	receive(t, arrived, "the request that is cancelled at the next tick")
	leaves.SetLinger(0)
	leaves.Close()
	eventually(t, "a tick has passed", func() bool { return g.EngineCounts.Cancelled.Load() == 1 })
	close(release)

	for _, c := range []io.Reader{offloaded, handled} {
		readUntil(t, c, "late")
	}
}
