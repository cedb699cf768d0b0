//go:build exercise

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/http2"
	"socketup/part4-pooling/internal/testutil"
)

// The exercises of chapter 4. Run one with
//
//	go test -tags exercise -run TestExercise1 ./part4-pooling
//
// It fails until you have changed the client, its pool or the gateway.
// Solutions are in solutions/.

// Some servers announce not only how long they keep a connection, but also for
// how many more requests: Keep-Alive: max=2. After max=0 the next request
// should use another connection: the server is about to close this one.
func TestExercise1ClientCountsAsTheServerDoes(t *testing.T) {
	const each = 3 // requests on one connection
	s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
		n := 0
		testutil.ReadRequests(bufio.NewReader(c), func(*http.Request) bool {
			if n++; n > each {
				io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
			} else {
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=%d\r\nContent-Length: 0\r\n\r\n", each-n)
			}
			return true
		})
	})
	p := newSmallPool(t, 1)

	for i := range 9 {
		status, _, err := poolRoundTrip(p, s.Addr, postRequest("/", "x"))
		require.NoError(t, err)
		assert.Equal(t, 200, status, "request %d arrived on a connection whose server had said max=0. response.go, recordField", i+1)
	}

	assert.Equal(t, 3, s.Accepted())
	status, _, err := poolRoundTrip(newSmallPool(t, 1), testutil.ServePolite(t).Addr, getRequest("/"))
	require.NoError(t, err)
	assert.Equal(t, 200, status, "a server that says nothing means no limit")
}

// Two backends for one path: when connecting to the first fails, the gateway
// uses the second. Nothing has been sent by then, so that is safe even for a
// POST. Once a backend may have received the request, no other may get it.
func TestExercise2AnotherBackendTakesOver(t *testing.T) {
	good := testutil.ServeResponses(t, func(int, *http.Request) string { return testutil.Response200("second") })
	closes := testutil.ServeScript(t, func(c *net.TCPConn, _ int) { c.Read(make([]byte, 4<<10)) })
	const rule, look = "house rule: only a request that was never sent may go to another backend", "gateway.go, backendFor and forward"
	for _, c := range []struct {
		first  string
		answer string
	}{{testutil.FreeAddr(t), "200 OK"}, {closes.Addr, "502 Bad Gateway"}} {
		g := gateway.New(newSmallPool(t, 4), []gateway.Backend{{Path: "/", Addr: c.first}, {Path: "/", Addr: good.Addr}})
		r := startServer(t, withHandler(g.Handler(routes())))

		for _, request := range []string{get("/", closeField), post("/", "10 euros", closeField)} {
			sendAndRead(t, r.addr, rule, look, request).wantPrefix(t, "HTTP/1.1 "+c.answer+"\r\n")
		}
	}
	assert.Equal(t, 1, good.Accepted())
}

// An overloaded server says when to retry. A client whose request is idempotent
// waits, if the time is short, and retries once.
func TestExercise3ClientRetriesAfterRetryAfter(t *testing.T) {
	var asks atomic.Int64
	busy := func(times int64, after string) *testutil.Server {
		asks.Store(0)
		return testutil.ServeResponses(t, func(int, *http.Request) string {
			if asks.Add(1) <= times {
				return "HTTP/1.1 503 Service Unavailable\r\nRetry-After: " + after + "\r\nContent-Length: 5\r\n\r\nbusy\n"
			}
			return testutil.Response200("hello")
		})
	}
	for name, c := range map[string]struct {
		server func() *testutil.Server
		call   *client.Request
		status int
		asks   int64
	}{
		"once busy":      {func() *testutil.Server { return busy(1, "0") }, getRequest("/"), 200, 2},
		"busy twice":     {func() *testutil.Server { return busy(2, "0") }, getRequest("/"), 503, 2},
		"for an hour":    {func() *testutil.Server { return busy(1, "3600") }, getRequest("/"), 503, 1},
		"busy for POSTs": {func() *testutil.Server { return busy(1, "0") }, postRequest("/", "x"), 503, 1},
	} {
		s, p := c.server(), newSmallPool(t, 1)

		status, _, err := poolRoundTrip(p, s.Addr, c.call)

		require.NoError(t, err, name)
		assert.Equal(t, c.status, status, "%s. house rule: Retry-After is honoured once, for idempotent requests. roundtrip.go, RoundTrip", name)
		assert.Equal(t, c.asks, asks.Load(), "%s: how many requests the server received", name)
		assert.Equal(t, 1, s.Accepted(), "%s: the first response is drained, and its connection reused", name)
	}
}

func postRequest(target, body string) *client.Request {
	c := getRequest(target)
	c.Method, c.Body = []byte("POST"), []byte(body)
	return c
}

// A backend may allow frames of more than 16 KiB. Then a large body needs fewer of them.
func TestExercise4FramesAreAsLongAsTheBackendAllows(t *testing.T) {
	skipIfJudging(t)
	const rule, look = "RFC 9113 §6.5.2, SETTINGS_MAX_FRAME_SIZE: the largest payload that its sender is willing to receive", "http2upload.go, sendBody"
	for name, c := range map[string]struct {
		settings []http2.Setting
		longest  int
	}{
		"no setting": {nil, http2.DefaultMaxFrame},
		"64 KiB":     {[]http2.Setting{{ID: http2.SettingMaxFrameSize, Value: 64 << 10}, {ID: http2.SettingInitialWindowSize, Value: 1 << 20}}, http2.DefaultMaxFrame + 1},
	} {
		t.Run(name, func(t *testing.T) {
			addr, back := startStreams(t, rule, look, c.settings...)
			warm := converse(t, addr, get("/", closeField))
			q := back.request("a client has asked for /")
			q.Write(http2.AppendWindowUpdate(nil, 0, 1<<20)) // of the connection
			q.await()
			q.respond("ok")
			answerTo(warm, get("/"), rule, look).wantAnswer(t, "200", "ok")
			body := strings.Repeat("x", 60<<10)
			front := laterAnswer(converse(t, addr, post("/", body, closeField)), "", rule, look)

			q = back.request("a client has sent a POST")
			q.until("the body arrives", func() bool { return q.whole })
			q.respond("ok")

			receive(t, front, "the response").wantAnswer(t, "200", "ok")
			assert.Equal(t, body, q.body)
			if c.settings == nil {
				assert.LessOrEqual(t, q.longest, c.longest, "bytes of a DATA frame, to a backend that allows 16 KiB")
			} else {
				assert.GreaterOrEqual(t, q.longest, c.longest, "bytes of a DATA frame, to a backend that allows 64 KiB")
			}
		})
	}
}
