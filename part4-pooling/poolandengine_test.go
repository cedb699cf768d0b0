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

// A request goes by a handler and the pool, or by an engine. What becomes of it,
// of its connection, and of what the pool knows of the backend is the same.

// onPoolAndEngine runs a test with a gateway that has no engine, and with one that has.
func onPoolAndEngine(t *testing.T, test func(t *testing.T, change func(*gateway.Gateway))) {
	t.Parallel()
	for _, way := range []string{"pool", "engine"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			test(t, func(g *gateway.Gateway) {
				g.Engines.IdleTime = 50 * time.Millisecond // so that the engine is still there for the next request
				g.Backends[0].Engine = way == "engine"
			})
		})
	}
}

// requireResponse sends one request on a connection that stays, and wants the response.
func requireResponse(t testing.TB, c net.Conn, in *bufio.Reader, request, status, body string) {
	t.Helper()
	_, err := io.WriteString(c, request)
	require.NoError(t, err)
	a, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	defer a.Body.Close()
	got, err := io.ReadAll(a.Body)
	require.NoError(t, err)
	require.Equal(t, status, a.Status, "the answer to %s: %s", clip(request), got)
	if body != "" {
		require.Equal(t, body, string(got), "the answer to %s", clip(request))
	}
}

// What a backend does to a kept connection while nothing is asked for is found
// out on both ways, counted as what it is, and remembered.
func TestFaultyConnectionIsDetectedAndCountedByPoolAndEngine(t *testing.T) {
	onPoolAndEngine(t, func(t *testing.T, change func(*gateway.Gateway)) {
		for name, c := range map[string]struct {
			with  string               // is sent with the first response
			later func(c *net.TCPConn) // happens when the client has the first response
			want  pool.Counts
		}{
			"a second answer with the first": {testutil.Response200("/evil"), nil, pool.Counts{Dialled: 3, Unsolicited: 1, Dropped: 2}},
			"a second answer, later":         {"", func(c *net.TCPConn) { io.WriteString(c, testutil.Response200("/evil")) }, pool.Counts{Dialled: 3, Unsolicited: 1, Dropped: 2}},
			"408, later":                     {"", func(c *net.TCPConn) { io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n") }, pool.Counts{Dialled: 2, Stale: 1}},
			"an empty line with the first":   {"\r\n", nil, pool.Counts{Dialled: 1}},
			"an end":                         {"", func(c *net.TCPConn) { c.Close() }, pool.Counts{Dialled: 2, Stale: 1}},
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
				receive(t, done, "the backend does what it does")
				requireResponse(t, client, in, get("/2"), "200 OK", "/2")
				requireResponse(t, client, in, get("/3"), "200 OK", "/3")

				client.Close()
				awaitEnginesRetired(t, g)
				got := g.Pool.Stats().Backend(s.Addr).Counts
				got.Reused, got.Waited = 0, 0 // an engine asks the pool once, for many requests
				assert.Equal(t, c.want, got, "house rule: one distrust for all, whoever finds it. quarantine.go, quarantine")
			})
		}
	})
}

// The requests that were in an engine's queue when its backend lost our trust go
// one by one, each on a connection of its own, as the pool's do.
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

// An engine has one connection, and would send them one after the other.
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
	eventually(t, "the backend is not trusted", func() bool { return g.Pool.Stats().Backend(s.Addr).Unsolicited == 1 })

	io.WriteString(client, get("/1")+get("/2")+get("/3"))

	eventually(t, "the backend works on all three at once (offload.go, handOver)", func() bool { return held.Load() == 3 })
	free()
	for _, want := range []string{"/1", "/2", "/3"} {
		requireResponse(t, client, in, "", "200 OK", want)
	}
}

// What is no response today is none tomorrow: the backend is not asked again.
func TestMalformedResponseIsNotRetried(t *testing.T) {
	onPoolAndEngine(t, func(t *testing.T, change func(*gateway.Gateway)) {
		for name, answer := range map[string]string{
			"garbage":             "what?\r\n\r\n",
			"two lengths":         "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
			"a bad chunk":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
			"interims for ever":   strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 500),
			"a protocol unwanted": "HTTP/1.1 101 Switching Protocols\r\n\r\n",
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
					for status := 100; status < 200; { // interims pass
						a, err := http.ReadResponse(in, nil)
						require.NoError(t, err)
						status = a.StatusCode
					}

					assert.EqualValues(t, 1, asked.Load(), "house rule: only a connection that ends without an answer is a reason to ask again. unanswered.go, isFinal")
				})
			}
		}
	})
}

// A 408 on a kept connection has met the request on its way.
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
