package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/pool"
)

// A request is forwarded by a handler through the pool, or by an engine. The
// outcome for the request, for its connection and for the pool's knowledge of
// the backend is the same.

// onPoolAndEngine runs test twice: for gateways without an engine, and for
// gateways with one.
func onPoolAndEngine(t *testing.T, test func(t *testing.T, change func(*gateway.Gateway))) {
	t.Parallel()
	for _, way := range []string{"pool", "engine"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			test(t, func(g *gateway.Gateway) {
				g.Engines.IdleTime = 50 * time.Millisecond // long enough for the next request to find the engine
				g.Backends[0].Engine = way == "engine"
			})
		})
	}
}

// requireResponse sends one request on c, which stays open, and requires this
// status and body.
func requireResponse(t testing.TB, c net.Conn, in *bufio.Reader, request, status, body string) {
	t.Helper()
	_, err := io.WriteString(c, request)
	require.NoError(t, err)
	a, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	defer a.Body.Close()
	got, err := io.ReadAll(a.Body)
	require.NoError(t, err)
	require.Equal(t, status, a.Status, "the response to %s: %s", clip(request), got)
	if body != "" {
		require.Equal(t, body, string(got), "the response to %s", clip(request))
	}
}

// What a backend does to an idle connection is detected by pool and engine
// alike, counted as what it is, and remembered.
func TestFaultyConnectionIsDetectedAndCountedByPoolAndEngine(t *testing.T) {
	onPoolAndEngine(t, func(t *testing.T, change func(*gateway.Gateway)) {
		for name, c := range map[string]struct {
			with  string               // sent with the first response
			later func(c *net.TCPConn) // called when the client has the first response
			want  pool.Counts
		}{
			"a second response with the first": {testutil.Response200("/evil"), nil, pool.Counts{Dialled: 3, Unsolicited: 1, Dropped: 2}},
			"a second response, later":         {"", func(c *net.TCPConn) { io.WriteString(c, testutil.Response200("/evil")) }, pool.Counts{Dialled: 3, Unsolicited: 1, Dropped: 2}},
			"408, later":                       {"", func(c *net.TCPConn) { io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n") }, pool.Counts{Dialled: 2, Stale: 1}},
			"an empty line with the first":     {"\r\n", nil, pool.Counts{Dialled: 1}},
			"an end":                           {"", func(c *net.TCPConn) { c.Close() }, pool.Counts{Dialled: 2, Stale: 1}},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				told, done := make(chan bool), make(chan bool)
				s := testutil.ServeScript(t, func(conn *net.TCPConn, number int) {
					testutil.ReadRequests(bufio.NewReader(conn), func(r *http.Request) bool {
						if number > 1 || r.URL.Path != "/1" {
							_, err := io.WriteString(conn, testutil.Response200(r.URL.Path))
							return err == nil
						}
						io.WriteString(conn, testutil.Response200(r.URL.Path)+c.with)
						<-told
						if c.later != nil {
							c.later(conn)
						}
						close(done)
						return true
					})
				})
				r, g := startEngineGateway(t, s.Addr, func(g *gateway.Gateway) { g.Pool.Limits.Quarantine = time.Hour }, change)
				client := converse(t, r.addr, "")
				in := bufio.NewReader(client)

				requireResponse(t, client, in, get("/1"), "200 OK", "/1")
				told <- true
				receive(t, done, "the backend has acted")
				requireResponse(t, client, in, get("/2"), "200 OK", "/2")
				requireResponse(t, client, in, get("/3"), "200 OK", "/3")

				client.Close()
				awaitEnginesRetired(t, g)
				got := g.Pool.Stats().Backend(s.Addr).Counts
				got.Reused, got.Waited = 0, 0 // an engine asks the pool once for many requests
				assert.Equal(t, c.want, got, "house rule: pool and engine share one quarantine. quarantine.go, quarantine")
			})
		}
	})
}

// Requests that are in an engine's queue when its backend is quarantined are
// sent one by one, each on its own connection, as the pool does.
func TestEngineSendsOneRequestPerConnectionToAQuarantinedBackend(t *testing.T) {
	t.Parallel()
	for _, byName := range []bool{false, true} {
		requireSendsOnce(t, byName)
	}
}

func requireSendsOnce(t *testing.T, byName bool) {
	t.Helper()
	const many = 8
	var mu sync.Mutex
	got := map[int]int{} // requests by connection; guarded by mu
	s := testutil.ServeResponses(t, func(connection int, r *http.Request) string {
		mu.Lock()
		defer mu.Unlock()
		if got[connection]++; connection == 1 {
			return testutil.Response200(r.URL.Path) + testutil.Response200("/evil")
		}
		return testutil.Response200(r.URL.Path)
	})
	addr := s.Addr
	if byName {
		addr = strings.Replace(addr, "127.0.0.1", "localhost", 1)
	}
	r, g := startEngineGateway(t, addr, func(g *gateway.Gateway) { g.Pool.Limits.Quarantine = time.Hour })
	text, want := getPaths("/", many)

	answers := sendAndRead(t, r.addr, ruleEngine, "evictor.go, ShouldReturn", text).parseBodies(t, many)

	assert.Equal(t, want, answers)
	awaitEnginesRetired(t, g)
	mu.Lock()
	defer mu.Unlock()
	for connection, requests := range got {
		assert.Equal(t, 1, requests, "house rule: no second request on a connection of a backend that spoke unasked; it was connection %d. evictor.go, ShouldReturn", connection)
	}
	assert.EqualValues(t, 1, g.Pool.Stats().Backend(addr).Unsolicited)
}

// An engine has one connection, and would send requests to a quarantined
// backend one after the other.
func TestRequestsToAQuarantinedBackendUseThePool(t *testing.T) {
	t.Parallel()
	var held atomic.Int64
	release := make(chan struct{})
	s := testutil.ServeResponses(t, func(connection int, r *http.Request) string {
		if r.URL.Path == "/first" {
			return testutil.Response200("first") + testutil.Response200("evil")
		}
		held.Add(1)
		<-release
		return testutil.Response200(r.URL.Path)
	})
	r, g := startEngineGateway(t, s.Addr, func(g *gateway.Gateway) { g.Pool.Limits.Quarantine = time.Hour })
	free := sync.OnceFunc(func() { close(release) })
	t.Cleanup(free)
	client := converse(t, r.addr, "")
	in := bufio.NewReader(client)
	requireResponse(t, client, in, get("/first"), "200 OK", "first")
	eventually(t, "the backend is quarantined", func() bool { return g.Pool.Stats().Backend(s.Addr).Unsolicited == 1 })

	io.WriteString(client, get("/1")+get("/2")+get("/3"))

	eventually(t, "the backend handles all three concurrently (offload.go, offloadTo)", func() bool { return held.Load() == 3 })
	free()
	for _, want := range []string{"/1", "/2", "/3"} {
		requireResponse(t, client, in, "", "200 OK", want)
	}
}

// A request that got a malformed response is not retried: the next response
// would be malformed too.
func TestMalformedResponseIsNotRetried(t *testing.T) {
	onPoolAndEngine(t, func(t *testing.T, change func(*gateway.Gateway)) {
		for name, answer := range map[string]string{
			"garbage":                   "what?\r\n\r\n",
			"two lengths":               "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
			"a bad chunk":               "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
			"endless interim responses": strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 500),
			"an unrequested upgrade":    "HTTP/1.1 101 Switching Protocols\r\n\r\n",
		} {
			for _, kept := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, kept: %v", name, kept), func(t *testing.T) {
					t.Parallel()
					var asked atomic.Int64
					s := testutil.ServeResponses(t, func(_ int, r *http.Request) string {
						if r.URL.Path == "/good" {
							return testutil.Response200("ok")
						}
						asked.Add(1)
						return answer
					})
					r, _ := startEngineGateway(t, s.Addr, change)
					client := converse(t, r.addr, "")
					in := bufio.NewReader(client)
					if kept {
						requireResponse(t, client, in, get("/good"), "200 OK", "ok")
					}

					io.WriteString(client, get("/bad"))
					for status := 100; status < 200; { // skip forwarded interim responses
						a, err := http.ReadResponse(in, nil)
						require.NoError(t, err)
						status = a.StatusCode
					}

					assert.EqualValues(t, 1, asked.Load(), "house rule: only a connection that ends without a response is a reason to retry. unanswered.go, isFinal")
				})
			}
		}
	})
}

// A 408 on a kept connection has crossed the request.
func TestStale408IsNotTheResponseInPoolOrEngine(t *testing.T) {
	onPoolAndEngine(t, func(t *testing.T, change func(*gateway.Gateway)) {
		s := testutil.ServeScript(t, func(c *net.TCPConn, number int) {
			testutil.ReadRequests(bufio.NewReader(c), func(r *http.Request) bool {
				if number > 1 || r.URL.Path == "/1" {
					io.WriteString(c, testutil.Response200(r.URL.Path))
					return true
				}
				io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
				return false
			})
		})
		r, g := startEngineGateway(t, s.Addr, change)
		client := converse(t, r.addr, "")
		in := bufio.NewReader(client)

		requireResponse(t, client, in, get("/1"), "200 OK", "/1")
		requireResponse(t, client, in, get("/2"), "200 OK", "/2")

		client.Close()
		awaitEnginesRetired(t, g)
		got := g.Pool.Stats().Backend(s.Addr).Counts
		assert.Equal(t, [3]uint64{2, 1, 1}, [3]uint64{got.Dialled, got.Broken, got.Retried}, "retry.go, IsStale408; http1read.go, isUnreliable")
	})
}
