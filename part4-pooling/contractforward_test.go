package main

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/internal/testutil"
)

// Contract: a request reaches the backend, its response the client, and a failure
// has a status.

const (
	ruleForward    = "house rule: method, target, Host and fields reach the backend as they came, and so do status, fields and body the client"
	ruleOwnVersion = "MUST, RFC 9112 §2.3: a gateway sends its own version"
	lookForward    = "gateway.go, forward; forwarding.go, build"
)

func TestGETIsForwarded(t *testing.T) {
	t.Parallel()
	back, seen := recording(lastOK("from the backend"))

	front := sendAndRead(t, contractGateway(t, back), ruleForward, lookForward, get("/a/b%20c/../d//e?f=%2F&g", closeField, "Accept: text/plain, */*\r\nX-Mine: 1\r\n"))

	front.wantAnswer(t, "200", "from the backend")
	_, s := received(t, seen, front)
	s.wantPrefix(t, "GET /a/b%20c/../d//e?f=%2F&g HTTP/1.1\r\n")
	s.wantField(t, "Host", "socket.up")
	s.wantField(t, "Accept", "text/plain, */*")
	s.wantField(t, "X-Mine", "1")
}

func TestResponseIsForwarded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ answer, status, body string }{
		"200":                      {"HTTP/1.1 200 OK\r\nContent-Type: text/x-mine\r\nContent-Length: 5\r\n\r\nhello", "200", "hello"},
		"404":                      {"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone", "404", "none"},
		"500":                      {"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\noh", "500", "oh"},
		"204":                      {"HTTP/1.1 204 No Content\r\n\r\n", "204", ""},
		"304":                      {"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n", "304", ""},
		"chunked":                  {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=\"a\"\r\nhel\r\n0002\r\nlo\r\n0\r\n\r\n", "200", "hello"},
		"ends with the connection": {"HTTP/1.1 200 OK\r\n\r\nhello", "200", "hello"},
		"HTTP/1.0":                 {"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", "200", "hello"},
	} {
		t.Run(name, func(t *testing.T) {
			last := strings.Replace(c.answer, "\r\n", "\r\nConnection: close\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n", 1)
			back, _ := recording(last)

			front := sendAndRead(t, contractGateway(t, back), ruleForward, "gateway.go, copyResponse", get("/", closeField))

			if strings.HasPrefix(front.got, "HTTP/1.0 ") {
				front.withRule(ruleOwnVersion).fail(t, 5, "the version is the backend's")
			}
			front.wantAnswer(t, c.status, c.body)
			if cookies := front.fieldLines("Set-Cookie"); len(cookies) != 2 || cookies[0] != "a=1" || cookies[1] != "b=2" {
				front.fail(t, front.fieldAt("Set-Cookie"), "the two Set-Cookie lines of the backend are %q", cookies)
			}
		})
	}
}

func TestSlowResponseDelaysNoOtherClient(t *testing.T) {
	t.Parallel()
	asked, release := make(chan bool, 1), make(chan bool)
	addr := contractGateway(t, answering(nil, func(q backendRequest) string {
		if q.URL.Path == "/slow" {
			asked <- true
			select {
			case <-release:
			case <-t.Context().Done():
			}
		}
		return lastOK(q.URL.Path)
	}))
	slow := converse(t, addr, get("/slow", closeField))
	receive(t, asked, "the slow request at the backend")
	const rule = "house rule: a client whose response is late delays no other"

	sendAndRead(t, addr, rule, "pool.go", get("/fast", closeField)).wantAnswer(t, "200", "/fast")

	close(release)
	transcript{sent: get("/slow", closeField), rule: rule, look: "pool.go"}.readAll(slow).wantAnswer(t, "200", "/slow")
}

// A failure costs one request: the next one finds a backend that is well.
func TestBackendFailureIs502(t *testing.T) {
	t.Parallel()
	const rule = "house rule, RFC 9110 §15.6.3: 502 for a backend that cannot be reached, or sends what is no response"
	for name, bytes := range map[string]string{
		"closes at once":   "",
		"garbage":          "SSH-2.0-OpenSSH\r\n\r\n",
		"half a head":      "HTTP/1.1 200 OK\r\nContent-",
		"no status":        "HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n",
		"an endless field": "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 1<<20) + "\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			addr := contractGateway(t, func(c *net.TCPConn, _ int) {
				c.SetReadDeadline(time.Now().Add(maxWait))
				b := make([]byte, 64<<10)
				if n, _ := c.Read(b); strings.HasPrefix(string(b[:n]), "GET /well ") {
					io.WriteString(c, lastOK("well"))
				} else {
					io.WriteString(c, bytes)
				}
			})

			front := sendAndRead(t, addr, rule, "gateway.go, sendError", get("/", closeField))

			front.wantPrefix(t, "HTTP/1.1 502 ")
			front.wantWhole(t)
			sendAndRead(t, addr, "house rule: a failure ends with its request", "gateway.go, sendError", get("/well", closeField)).wantAnswer(t, "200", "well")
		})
	}
	t.Run("refuses", func(t *testing.T) {
		addr := gatewayTo(t, func(at string) string {
			if strings.HasSuffix(at, ":0") {
				return testutil.FreeAddr(t)
			}
			return at // where no program listens now
		})

		front := sendAndRead(t, addr, rule, "gateway.go, sendError", get("/", closeField))

		front.wantPrefix(t, "HTTP/1.1 502 ")
		front.wantWhole(t)
	})
}

// A backend whose accept queue is full does not answer SYNs. A client of a gateway
// must not wait for as long as the kernel tries: minutes.
func TestConnectTimeoutIs504(t *testing.T) {
	t.Parallel()
	addr := gatewayTo(t, func(at string) string { return testutil.Unresponsive(t, at) }, func(g *gateway.Gateway) { g.Timeouts.Connect = 30 * time.Millisecond })
	c := converse(t, addr, get("/", closeField))
	c.SetDeadline(time.Now().Add(connectLimit))

	got, err := io.ReadAll(c)

	s := transcript{sent: get("/", closeField), got: string(got), end: err, rule: "house rule, RFC 9110 §15.6.5: 504 for a backend with which no connection comes about, within 5 s", look: "dial.go"}
	s.wantPrefix(t, "HTTP/1.1 504 ")
	s.wantWhole(t)
}

const connectLimit = 5 * time.Second // for the connect to a backend whose kernel is silent

func TestHEADHasNoBodyThroughAGateway(t *testing.T) {
	t.Parallel()
	back, seen := recording("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n") // and the connection stays open

	front := sendAndRead(t, contractGateway(t, back), "MUST, RFC 9110 §9.3.2: the response to HEAD has no body, whatever its length says", "http1/response.go, setLength", "HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

	front.wantPrefix(t, "HTTP/1.1 200 ")
	front.wantSame(t, "the body", "", front.parse(t).body)
	if front.end != nil {
		front.fail(t, len(front.got), "the response is whole, and the gateway waits for its body (%s)", front.describeEnd())
	}
	_, s := received(t, seen, front)
	s.wantPrefix(t, "HEAD / HTTP/1.1\r\n")
	front.withRule("SHOULD, RFC 9110 §9.3.2: the fields are those of GET").wantField(t, "Content-Length", "1234")
}

func TestHTTP10ClientGetsNoChunks(t *testing.T) {
	t.Parallel()
	back, seen := recording("HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")

	front := sendAndRead(t, contractGateway(t, back), "MUST NOT, RFC 9112 §6.1: no chunked coding to HTTP/1.0", "response.go", "GET / HTTP/1.0\r\nHost: x\r\n\r\n").ofHTTP10()

	front.wantPrefix(t, "HTTP/1.1 200 ")
	front.wantNoField(t, "Transfer-Encoding")
	front.wantSame(t, "the body", "hello", front.parse(t).body)
	_, s := received(t, seen, front)
	s.withRule(ruleOwnVersion).wantPrefix(t, "GET / HTTP/1.1\r\n")
}

// A request comes back to the gateway that sent it, again and again.
func TestForwardingLoopEnds(t *testing.T) {
	t.Parallel()
	const most = 40
	var addr string
	ready := make(chan bool)
	addr = contractGateway(t, func(c *net.TCPConn, number int) {
		<-ready
		if number > most {
			answering(nil, func(backendRequest) string { return lastOK("still here") })(c, number)
			return
		}
		again, err := net.DialTimeout("tcp", addr, maxWait)
		if err != nil {
			return
		}
		defer again.Close()
		go func() { io.Copy(again, c); again.(*net.TCPConn).CloseWrite() }() // until c is closed
		io.Copy(c, again)
	}, func(g *gateway.Gateway) { g.Pool.Limits.PerBackend, g.Pool.Limits.Total = most, most })
	close(ready)

	front := sendAndRead(t, addr, "house rule, RFC 9110 §7.6.3: Via shows a gateway that a request is in a loop; 508", "gateway.go, forward", get("/", closeField))

	front.wantPrefix(t, "HTTP/1.1 508 ")
}
