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

	"socketup/part4-pooling/internal/testutil"
)

// Contract: the connection to the backend, which is kept.

func TestConnectionToTheBackendIsKept(t *testing.T) {
	t.Parallel()
	back, seen := recording(testutil.Response200("ok"))
	addr := contractGateway(t, back)
	const rule = "house rule: a connection to the backend carries request after request, also of different clients"
	conns, front := map[int]bool{}, transcript{}

	for range 8 {
		front = sendAndRead(t, addr, rule, "pool.go", get("/", closeField))
		front.wantAnswer(t, "200", "ok")
		q, _ := received(t, seen, front)
		conns[q.conn] = true
	}

	if len(conns) > 4 { // a gateway may have a few processes, with a pool each
		front.fail(t, len(front.got), "8 requests, one after the other, took %d connections", len(conns))
	}
}

func TestConnectionIsNotUsedAfterClose(t *testing.T) {
	t.Parallel()
	var requests [10]atomic.Int64
	addr := contractGateway(t, func(c *net.TCPConn, number int) { // says close, and stays
		testutil.ReadRequests(bufio.NewReader(c), func(*http.Request) bool {
			requests[min(number, 9)].Add(1)
			_, err := io.WriteString(c, lastOK("ok"))
			return err == nil
		})
	})
	for range 3 {
		front := sendAndRead(t, addr, "MUST NOT, RFC 9112 §9.6: no request is sent after a response with Connection: close", "response.go, Persists", get("/", closeField))
		front.wantAnswer(t, "200", "ok")
		for i := range requests {
			if n := requests[i].Load(); n > 1 {
				front.fail(t, 0, "connection %d got %d requests", i, n)
			}
		}
	}
}

// A server that leaves the body of a GET unread takes it for the next request.
func TestHiddenRequestGetsNoResponse(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "DELETE"} {
		for _, framing := range []string{"a length", "chunked"} {
			t.Run(method+" with "+framing, func(t *testing.T) {
				addr := contractGateway(t, ignoringBodies)
				for range 3 {
					c := converse(t, addr, hiddenRequest(method, framing))
					http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method}) // or a refusal, or none
					c.Close()

					victim := sendAndRead(t, addr, ruleUnreadBody, "request.go, HasUnexpectedBody", get("/mine", closeField))

					victim.wantPrefix(t, "HTTP/1.1 200 ")
					victim.wantSame(t, "the response to the next client", "/mine", victim.wantWhole(t).body)
				}
			})
		}
	}
}

// A connection that the backend has closed is found before the request is sent: a
// POST, which cannot be repeated, shows it.
func TestClosedConnectionIsNotUsed(t *testing.T) {
	t.Parallel()
	leave, closed := make(chan bool), make(chan bool, 100)
	addr := contractGateway(t, func(c *net.TCPConn, _ int) {
		answering(nil, func(q backendRequest) string {
			if q.Method != "GET" {
				return lastOK("done")
			}
			io.WriteString(c, testutil.Response200("ok"))
			select {
			case <-leave:
			case <-t.Context().Done():
			}
			c.CloseWrite()
			for !finArrived(c) && t.Context().Err() == nil {
				time.Sleep(time.Millisecond)
			}
			c.Close()
			closed <- true
			return ""
		})(c, 0)
	})
	for range 5 {
		sendAndRead(t, addr, "", "", get("/", closeField)).wantAnswer(t, "200", "ok")
		time.Sleep(10 * time.Millisecond) // the input: the connection is idle when it closes
		send(t, leave, true, "the backend may close")
		receive(t, closed, "the backend has closed the idle connection")

		s := sendAndRead(t, addr, "house rule, RFC 9112 §9.5: a connection is checked before it is used again", "conn.go, CheckIdle", post("/", "body", closeField))

		s.wantAnswer(t, "200", "done")
	}
}

// The backend answers the first request of a connection and closes when it has read
// the second, as a server whose idle timer fires at that moment.
func thenDying(counts map[string]*atomic.Int64, kept *atomic.Bool) script {
	return func(c *net.TCPConn, _ int) {
		n := 0
		testutil.ReadRequests(bufio.NewReader(c), func(r *http.Request) bool {
			counts[r.Method].Add(1)
			if n++; n == 2 {
				kept.Store(true)
				return false
			}
			io.WriteString(c, testutil.Response200("ok"))
			return true
		})
	}
}

func newCounts() map[string]*atomic.Int64 {
	return map[string]*atomic.Int64{"GET": {}, "PUT": {}, "POST": {}}
}

func TestIdempotentRequestIsSentAgain(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]string{"GET": get("/", closeField), "PUT": strings.Replace(post("/", "abc", closeField), "POST", "PUT", 1)} {
		t.Run(name, func(t *testing.T) {
			var kept atomic.Bool
			addr := contractGateway(t, thenDying(newCounts(), &kept))
			for i := 0; i < 8 && !kept.Load(); i++ {
				sendAndRead(t, addr, "", "", get("/", closeField)).wantAnswer(t, "200", "ok")

				s := sendAndRead(t, addr, "house rule, RFC 9112 §9.3.1: an idempotent request whose kept connection ends is sent once more, on a new one", "retry.go, MayRetry", request)

				s.wantAnswer(t, "200", "ok")
			}
		})
	}
}

// All kept connections may be as dead as the first: the second try needs a new one.
func TestRequestIsSentAgainOnANewConnection(t *testing.T) {
	t.Parallel()
	var firsts atomic.Int64
	both := make(chan bool)
	addr := contractGateway(t, func(c *net.TCPConn, _ int) { // answers one request, when two connections have one, and dies at the next
		n := 0
		testutil.ReadRequests(bufio.NewReader(c), func(*http.Request) bool {
			if n++; n == 2 {
				return false
			}
			if firsts.Add(1) == 2 {
				close(both)
			}
			select {
			case <-both:
			case <-t.Context().Done():
			}
			_, err := io.WriteString(c, testutil.Response200("ok"))
			return err == nil
		})
	})
	one, two := converse(t, addr, get("/", closeField)), converse(t, addr, get("/", closeField))
	for _, c := range []*net.TCPConn{one, two} {
		transcript{sent: get("/", closeField)}.readAll(c).wantAnswer(t, "200", "ok")
	}

	s := sendAndRead(t, addr, "house rule, RFC 9112 §9.3.1: a request is sent again on a new connection, not on another kept one", "roundtrip.go", get("/", closeField))

	s.wantAnswer(t, "200", "ok")
}

func TestPOSTIsSentOnce(t *testing.T) {
	t.Parallel()
	const rule, look = "MUST NOT, RFC 9110 §9.2.2: a proxy does not repeat a request that is not idempotent", "retry.go, MayRetry"
	t.Run("kept", func(t *testing.T) {
		counts := newCounts()
		var kept atomic.Bool
		addr := contractGateway(t, thenDying(counts, &kept))
		for i := 0; i < 8 && !kept.Load(); i++ {
			sendAndRead(t, addr, "", "", get("/", closeField)).wantAnswer(t, "200", "ok")
			before := counts["POST"].Load()

			s := sendAndRead(t, addr, rule, look, post("/pay", "10 euros", closeField))

			if n := counts["POST"].Load() - before; n != 1 {
				s.fail(t, 0, "the backend has read this POST %d times", n)
			}
			if kept.Load() {
				s.wantPrefix(t, "HTTP/1.1 502 ")
			}
		}
	})
	t.Run("new", func(t *testing.T) {
		var posts atomic.Int64
		addr := contractGateway(t, answering(nil, func(backendRequest) string { posts.Add(1); return "" }))

		s := sendAndRead(t, addr, rule, look, post("/pay", "10 euros", closeField))

		s.wantPrefix(t, "HTTP/1.1 502 ")
		if n := posts.Load(); n != 1 {
			s.fail(t, 0, "the backend has read this POST %d times", n)
		}
	})
}

// A backend that always closes must not be asked for ever.
func TestRetriesEnd(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	addr := contractGateway(t, answering(nil, func(backendRequest) string { asked.Add(1); return "" }))

	s := sendAndRead(t, addr, "house rule: a request is sent twice at most", "retry.go, MayRetry", get("/", closeField))

	s.wantPrefix(t, "HTTP/1.1 502 ")
	if n := asked.Load(); n > 2 {
		s.fail(t, 0, "the backend has read this GET %d times", n)
	}
}

// The last test of the steps: a gateway may distrust this backend for a while.
func TestUnsolicitedResponseReachesNoClient(t *testing.T) {
	t.Parallel()
	const injected = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nINJECTED"
	t.Run("with the response", func(t *testing.T) {
		addr := contractGateway(t, answering(nil, func(q backendRequest) string { return testutil.Response200(q.URL.Path) + injected }))
		for i := range 6 {
			wantOwnResponse(t, addr, fmt.Sprintf("/%d", i))
		}
	})
	t.Run("later", func(t *testing.T) {
		conns := make(chan *net.TCPConn, 100)
		addr := contractGateway(t, func(c *net.TCPConn, number int) {
			answering(nil, func(q backendRequest) string { conns <- c; return testutil.Response200(q.URL.Path) })(c, number)
		})
		for i := range 6 {
			wantOwnResponse(t, addr, fmt.Sprintf("/%d", i))
			io.WriteString(receive(t, conns, "the connection"), injected) // or it is closed
		}
	})
}

func wantOwnResponse(t *testing.T, addr, path string) {
	t.Helper()
	s := sendAndRead(t, addr, "MUST NOT, RFC 9112 §9.2: what arrives on an idle connection is the response to no request", "conn.go, CheckIdle", get(path, closeField))
	s.wantAnswer(t, "200", path)
}
