package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/pool"
	"socketup/part4-pooling/server"
)

const ruleGiveBack = "house rule: a response that waits for its turn does not keep a connection that others wait for. pool/giveback.go"

// One client asks for something slow, and behind that for long responses, which hold the
// only connection to their backend until their turn. Another client gets an answer
// nevertheless, and in the end the first one gets all of its own.
func TestResponseThatWaitsForItsTurnGivesItsConnectionBack(t *testing.T) {
	t.Parallel()
	drivers := []string{"goroutines"}
	if server.DefaultDriver == "loop" {
		drivers = append(drivers, "loop")
	}
	for _, driver := range drivers {
		for framing, body := range map[string]string{"a length": longBody, "chunks": longBody, "trailers": longBody[:100]} {
			long := fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n", len(body), body)
			switch framing {
			case "a length":
				long = testutil.Response200(body)
			case "chunks":
				long += "\r\n"
			case "trailers":
				long += "ETag: x\r\n\r\n"
			}
			t.Run(driver+" with "+framing, func(t *testing.T) {
				t.Parallel()
				release := make(chan struct{})
				slow := testutil.ServeResponses(t, func(int, *http.Request) string { <-release; return testutil.Response200("slow") })
				var asked atomic.Int64 // for long responses
				quick := testutil.ServeResponses(t, func(_ int, r *http.Request) string {
					if r.URL.Path == "/long" {
						asked.Add(1)
						return long
					}
					return testutil.Response200("quick")
				})
				p := pool.New(pool.Limits{PerBackend: 1, Total: 2, OneClient: true, MaxWait: 3 * patience(), Spare: time.Millisecond, IdleTime: time.Hour, Lifetime: time.Hour})
				t.Cleanup(p.Close)
				g := gateway.New(p, []gateway.Backend{{Path: "/slow", Addr: slow.Addr}, {Path: "/", Addr: quick.Addr}})
				limits := server.DefaultLimits
				limits.Driver = driver
				r := startServerAt(t, "127.0.0.1:0", limits, withOffload(g))
				te := "TE: trailers\r\nConnection: TE\r\n"
				sent := get("/slow") + get("/long", te) + get("/long", te) + get("/long", te, closeField)
				greedy := converse(t, r.addr, sent)
				eventually(t, "a long response waits for its turn", func() bool { return asked.Load() == 1 })

				other := converse(t, r.addr, get("/quick", closeField))
				got, err := io.ReadAll(other)

				assert.NoError(t, err, ruleGiveBack)
				assert.True(t, strings.HasSuffix(string(got), "quick"), "%s: %s", ruleGiveBack, clip(string(got)))
				assert.EqualValues(t, 1, g.Pool.Stats().Backend(quick.Addr).GivenBack, ruleGiveBack)
				close(release)
				in := bufio.NewReader(greedy)
				for i, want := range []string{"slow", body, body, body} {
					a, err := http.ReadResponse(in, nil)
					require.NoError(t, err, "response %d. %s", i, ruleGiveBack)
					got, err := io.ReadAll(a.Body)
					assert.NoError(t, err, "response %d. %s", i, ruleGiveBack)
					assert.Equal(t, 200, a.StatusCode, "response %d. %s", i, ruleGiveBack)
					assert.True(t, string(got) == want, "response %d has %d bytes, want %d. %s", i, len(got), len(want), ruleGiveBack)
				}
				assert.EqualValues(t, 4, asked.Load(), "the request that gave its connection back is sent once more, and no other is")
			})
		}
	}
}

// Without a caller that it would help, no connection is given back.
func TestResponseKeepsItsConnectionIfNoOtherWantsIt(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s := testutil.ServeResponses(t, func(_ int, r *http.Request) string {
		if r.URL.Path == "/slow" {
			<-release
			return testutil.Response200("slow")
		}
		return testutil.Response200(longBody)
	})
	r, g := startGateway(t, s.Addr, func(g *gateway.Gateway) { g.Pool.Limits.PerBackend, g.Pool.Limits.Spare = 2, time.Nanosecond })
	sent := get("/slow") + get("/long") + get("/long", closeField)
	c := converse(t, r.addr, sent)
	eventually(t, "the third waits", func() bool { return g.Pool.Stats().Backend(s.Addr).Waiting == 1 })

	close(release)

	all := transcript{sent: sent, rule: ruleGiveBack, look: "pool/giveback.go, mustGiveBack"}.readAll(c)
	for _, one := range all.parseAll(t, getMethods(3)...) {
		all.wantSame(t, "the status of a response", "200 OK", one.status)
	}
	assert.Zero(t, g.Pool.Stats().Backend(s.Addr).GivenBack, "a connection that only the next request of the same line could have. %s", ruleGiveBack)
}
