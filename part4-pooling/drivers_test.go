package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/server"
)

// A gateway with one connection to its backend responds to a pipeline in order
// with every driver: requests enter the pool's queue in request order
// (reserve.go). Otherwise two requests could wait for each other for ever.
func TestGatewayAnswersAPipelineWithEveryDriver(t *testing.T) {
	t.Parallel()
	long := strings.Repeat(".", 64<<10) // too long to buffer: a response holds its connection until its turn
	back := testutil.ServeResponses(t, func(_ int, r *http.Request) string { return testutil.Response200(r.URL.Path + long) })
	drivers := []string{"serial", "goroutines"}
	if server.DefaultDriver == "loop" {
		drivers = append(drivers, "loop")
	}
	for _, wait := range drivers {
		for _, way := range []string{"-backend", "-engine"} {
			t.Run(wait+way, func(t *testing.T) {
				t.Parallel()
				_, addr, _ := startServing(t, way, "http://"+back.Addr, "-backend-connections=1", "-backend-wait=2s", "-wait="+wait)
				asked, want := "", []string{}
				for range 5 {
					asked += get("/a") + get("/b") + get("/c") + post("/d", "body")
					want = append(want, "/a", "/b", "/c", "/d")
				}
				asked, want = asked+get("/last", closeField), append(want, "/last")
				s := transcript{sent: asked, rule: "RFC 9112 §9.3.2: responses in the order of the requests", look: "reserve.go; offload.go, tryOffload"}
				got := s.readAll(converse(t, addr, asked)).parseBodies(t, len(want))
				assert.Equal(t, strings.Join(want, " "), strings.ReplaceAll(strings.Join(got, " "), long, ""))
			})
		}
	}
}
