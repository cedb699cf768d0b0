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
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/internal/testutil"
)

// What a backend may send around its responses: empty lines and interim
// responses. The pool and the engine follow the same rules.

// waitModes are the two ways to reach a backend.
var waitModes = []string{"the pool", "an engine"}

// viaPoolOrEngine starts a gateway that reaches the backend at addr in this
// way, over one connection at a time, and returns its address.
func viaPoolOrEngine(t *testing.T, way, addr string) string {
	t.Helper()
	one := func(g *gateway.Gateway) { g.Pool.Limits.PerBackend = 1 } // a request that meets a retiring engine waits for its connection
	r, _ := startGateway(t, addr, one)
	if way == "an engine" {
		r, _ = startEngineGateway(t, addr, one)
	}
	return r.addr
}

// competitors are how many clients compete for a gateway's one connection. With
// more than one it is handed from client to client, and never idle in between.
var competitors = []int{1, 3}

// A caller is a client's connection, and what reads from it.
type caller struct {
	net.Conn
	in *bufio.Reader
}

// dialCallers connects n clients to addr.
func dialCallers(t *testing.T, addr string, n int) (all []caller) {
	t.Helper()
	for range n {
		c := dial(t, addr)
		c.SetDeadline(time.Now().Add(maxWait))
		all = append(all, caller{c, bufio.NewReader(c)})
	}
	return all
}

// readFinals sends text on each connection of all before it reads from any: the
// requests compete. It returns the status and body of each final response. method
// is the method of text.
func readFinals(t *testing.T, all []caller, method, text string) (finals []string) {
	t.Helper()
	for _, c := range all {
		_, err := io.WriteString(c, text)
		require.NoError(t, err)
	}
	for _, c := range all {
		finals = append(finals, readFinal(t, c.in, method))
	}
	return finals
}

// readFinal reads from in up to the end of the final response to a request with
// this method. It returns its status and body.
func readFinal(t *testing.T, in *bufio.Reader, method string) string {
	t.Helper()
	for {
		r, err := http.ReadResponse(in, &http.Request{Method: method})
		require.NoError(t, err)
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		if r.StatusCode >= 200 {
			return fmt.Sprintf("%d %s", r.StatusCode, body)
		}
	}
}

// forEachCompetition runs test for each way to reach a backend, with each number of
// competing clients.
func forEachCompetition(t *testing.T, name string, test func(t *testing.T, way string, clients int)) {
	for _, way := range waitModes {
		for _, clients := range competitors {
			t.Run(fmt.Sprintf("%s, through %s, %d clients", name, way, clients), func(t *testing.T) { test(t, way, clients) })
		}
	}
}

// respondInTurn starts a backend that responds to request n of a connection
// with before(n), a response and behind(n).
func respondInTurn(t *testing.T, before, behind func(n int) string) *testutil.Server {
	t.Helper()
	return testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
		n := 0
		testutil.ReadRequests(bufio.NewReader(c), func(r *http.Request) bool {
			n++
			_, err := io.WriteString(c, before(n)+testutil.Response200(r.URL.Path)+behind(n))
			return err == nil
		})
	})
}

// responseHead returns a response head of n bytes without Content-Length.
func responseHead(status string, n int) string {
	const begin, end = "HTTP/1.1 ", "\r\nA: "
	return begin + status + end + strings.Repeat("a", n-len(begin+status+end)-4) + "\r\n\r\n"
}

func noText(int) string { return "" }

// An empty line after a response may arrive with it, while the connection is
// idle, or after the next request was sent. POST shows it best: it is never
// retried.
func TestEmptyLinesBetweenResponsesAreSkipped(t *testing.T) {
	t.Parallel()
	const rule = "house rule, after RFC 9112 §2.2: up to two empty lines before a response are skipped, whenever they arrive"
	line := func(int) string { return "\r\n" }
	for name, s := range map[string]*testutil.Server{
		"after the response":     respondInTurn(t, noText, line),
		"before the next":        respondInTurn(t, func(n int) string { return strings.Repeat("\r\n", min(n-1, 2)) }, noText),
		"one here and one there": respondInTurn(t, func(n int) string { return strings.Repeat("\r\n", min(n-1, 1)) }, line),
		"around interim responses": respondInTurn(t, func(n int) string {
			return "HTTP/1.1 102 Processing\r\n\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n\r\n\r\n"
		}, noText),
	} {
		forEachCompetition(t, name, func(t *testing.T, way string, clients int) {
			before := s.Accepted()
			all := dialCallers(t, viaPoolOrEngine(t, way, s.Addr), clients)
			for i := range 6 {
				path := fmt.Sprintf("/%d", i)
				method, text := "GET", get(path)
				if way == "the pool" {
					method, text = "POST", post(path, "x")
				}

				for _, got := range readFinals(t, all, method, text) {
					require.Equal(t, "200 "+path, got, "%s: conn.go, SkipEmptyLines", rule)
				}
			}
			assert.Equal(t, 1, s.Accepted()-before, "%s: the connection is reused. conn.go, IsQuiet; http1read.go, finishResponse", rule)
		})
	}
}

// A server that sends empty lines for ever would never miss a deadline and
// never respond.
func TestEmptyLinesBetweenResponsesAreBounded(t *testing.T) {
	t.Parallel()
	s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
		for _, err := c.Read(make([]byte, 4<<10)); err == nil; _, err = io.WriteString(c, "\r\n") {
		}
	})
	for _, way := range waitModes {
		got := sendAndRead(t, viaPoolOrEngine(t, way, s.Addr), "house rule: empty lines do not renew a deadline", "conn.go, SkipEmptyLines", get("/", closeField))
		got.wantPrefix(t, "HTTP/1.1 502 ")
		assert.Contains(t, got.wantFramed(t).body, "bad response", way)
	}
}

func TestInterimResponsesAreBounded(t *testing.T) {
	t.Parallel()
	const interim = "HTTP/1.1 102 Processing\r\n\r\n"
	for _, many := range []int{17, 100, 101} {
		var asked atomic.Int64
		s := testutil.ServeResponses(t, func(int, *http.Request) string {
			asked.Add(1)
			return strings.Repeat(interim, many) + testutil.Response200("done")
		})
		for _, way := range waitModes {
			asked.Store(0)
			got := sendAndRead(t, viaPoolOrEngine(t, way, s.Addr), "house rule: up to 100 interim responses are accepted; a request that got a malformed response is not retried", "responsehead.go, ReadHead; unanswered.go, resolveUnanswered", get("/", closeField))
			all := got.parseAll(t, getMethods(min(many, 100)+1)...)
			want := "200 OK"
			if many > 100 {
				want = "502 Bad Gateway"
			}
			assert.Equal(t, want, all[len(all)-1].status, "%d through %s", many, way)
			assert.EqualValues(t, 1, asked.Load(), "%d through %s: %s", many, way, got.rule)
		}
	}
}

func TestBadResponseIsNotRetried(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	s := testutil.ServeResponses(t, func(int, *http.Request) string {
		asked.Add(1)
		return "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nhello"
	})
	for _, way := range waitModes {
		asked.Store(0)
		sendAndRead(t, viaPoolOrEngine(t, way, s.Addr), "house rule: a malformed response counts as a response", "retry.go, MayRetry; unanswered.go, isFinal", get("/", closeField)).wantPrefix(t, "HTTP/1.1 502 ")
		assert.EqualValues(t, 1, asked.Load(), way)
	}
}

// The pool and the engine retry the same requests.
func TestConnectionThatEndsBeforeItsResponseIsRetriedOnce(t *testing.T) {
	t.Parallel()
	for name, half := range map[string]string{"without a byte": "", "after an empty line": "\r\n", "inside the head": "HTTP/1.1 200 OK\r\nContent-"} {
		for uses, last := range map[string]int{"new": 1, "kept": 2} { // requests that the first connection answers, with the one that fails
			forEachCompetition(t, fmt.Sprintf("a %s one, %s", uses, name), func(t *testing.T, way string, clients int) {
				s := testutil.ServeScript(t, func(c *net.TCPConn, number int) {
					n := 0
					testutil.ReadRequests(bufio.NewReader(c), func(r *http.Request) bool {
						if n++; number == 1 && n == last {
							io.WriteString(c, half)
							return false
						}
						io.WriteString(c, testutil.Response200("ok"))
						return true
					})
				})
				all := dialCallers(t, viaPoolOrEngine(t, way, s.Addr), clients)

				for range 2 {
					for _, got := range readFinals(t, all, "GET", get("/")) {
						assert.Equal(t, "200 ok", got, "MAY, RFC 9112 §9.3.1: a safe request is retried once. retry.go, MayRetry; unanswered.go, resolveUnanswered")
					}
				}
				assert.Equal(t, 2, s.Accepted())
			})
		}
	}
}

// A 408 that a server sends as it closes an idle connection may cross a request
// in flight. The engine, too, must not treat it as the response.
func TestKeepAliveTimeoutOfZeroIsNotReused(t *testing.T) {
	t.Parallel()
	s := testutil.ServeResponses(t, func(int, *http.Request) string {
		return "HTTP/1.1 200 OK\r\nKeep-Alive: max=5, timeout=0\r\nContent-Length: 2\r\n\r\nok"
	})
	for _, way := range waitModes {
		before := s.Accepted()
		text, _ := getPaths("/", 3)

		sendAndRead(t, viaPoolOrEngine(t, way, s.Addr), "house rule: a connection with Keep-Alive: timeout=0 is not reused", "response.go, recordField", text).parseBodies(t, 3)

		assert.Equal(t, 3, s.Accepted()-before, "%s: one connection for each request. response.go, recordField", way)

		before = s.Accepted()
		all := dialCallers(t, viaPoolOrEngine(t, way, s.Addr), 3)

		assert.Equal(t, []string{"200 ok", "200 ok", "200 ok"}, readFinals(t, all, "GET", get("/")), way)

		assert.Equal(t, 3, s.Accepted()-before, "%s: one connection for each client that waits. response.go, recordField", way)
	}
	p := newSmallPool(t, 1)
	_, _, err := poolRoundTrip(p, s.Addr, getRequest("/"))
	require.NoError(t, err)
	assert.Zero(t, p.Stats().Permits)
}

// A head of exactly the buffer's size left no room for the body, and a read
// into an empty slice looks like EOF: the client got an empty 200.
func TestResponseHeadOverTheLimitGets502(t *testing.T) {
	t.Parallel()
	for _, n := range []int{client.MaxHead, client.MaxHead + 1, 16_445, client.BufferSize - 123, client.BufferSize, client.BufferSize + 1} {
		for _, way := range waitModes {
			for _, last := range []int{0, 6} { // bytes of the head that arrive later
				s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
					readHead(t, c)
					text := responseHead("200 OK", n)
					io.WriteString(c, text[:n-last])
					io.WriteString(c, text[n-last:]+"hello")
				})
				want := "HTTP/1.1 200 OK\r\n"
				if n > client.MaxHead {
					want = "HTTP/1.1 502 Bad Gateway\r\n"
				}
				got := sendAndRead(t, viaPoolOrEngine(t, way, s.Addr), "house rule: an answer's head has 16 KiB, in however many packets", "responsehead.go, ReadHead", get("/", closeField))
				got.wantPrefix(t, want)
			}
		}
	}
}
