package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/pool"
	"socketup/part4-pooling/server"
)

// startGateway starts a gateway whose backend for all paths is at addr.
func startGateway(t testing.TB, addr string, change ...func(*gateway.Gateway)) (*testServer, *gateway.Gateway) {
	t.Helper()
	p := newSmallPool(t, 4)
	g := gateway.New(p, []gateway.Backend{{Path: "/", Addr: addr}})
	for _, f := range change {
		f(g)
	}
	return startServer(t, withOffload(g)), g
}

// startRecording starts a backend that records each request it receives: the
// exact bytes of its head, and of its body with the framing.
func startRecording(t testing.TB, answer string) (s *testutil.Server, got chan string) {
	t.Helper()
	got = make(chan string, 100)
	return testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
		buf := make([]byte, 64<<10)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			got <- string(buf[:n])
			io.WriteString(c, answer)
		}
	}), got
}

const ruleHopByHop = "MUST, RFC 9110 §7.6.1: hop-by-hop fields are not forwarded"

func TestGatewayRemovesHopByHopFields(t *testing.T) {
	t.Parallel()
	s, got := startRecording(t, "HTTP/1.1 200 OK\r\nConnection: X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=9\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"+
		"Date: Mon, 02 Jan 2006 15:04:05 GMT\r\nVia: 1.0 other\r\nContent-Length: 2\r\n\r\nok")
	r, _ := startGateway(t, s.Addr)
	host, _, _ := net.SplitHostPort(r.addr)

	front := sendAndRead(t, r.addr, ruleHopByHop, "forwarding.go, keepField",
		"POST http://example.org/a?b=1 HTTP/1.1\r\nHost: other\r\nConnection: close, X-Secret\r\nX-Secret: 1\r\nTE: trailers\r\nKeep-Alive: 3\r\n"+
			"Upgrade: h2c\r\nProxy-Authorization: x\r\nX-Forwarded-For: 192.0.2.1\r\nVia: 1.0 before\r\nAccept: */*\r\n"+
			"Transfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n0\r\nTrailer: x\r\n\r\n")

	back := transcript{sent: front.sent, got: receive(t, got, "a request at the backend"), rule: ruleHopByHop, look: "forwarding.go, build"}
	back.wantPrefix(t, "POST /a?b=1 HTTP/1.1\r\nHost: example.org\r\nVia: 1.0 before\r\nAccept: */*\r\n"+
		"Connection: TE\r\nTE: trailers\r\nX-Forwarded-For: 192.0.2.1, "+host+"\r\nForwarded: for="+host+";host=\"example.org\";proto=http\r\nVia: 1.1 socketup\r\n"+
		"X-Forwarded-Host: example.org\r\nX-Forwarded-Proto: http\r\nX-Real-IP: "+host+"\r\n"+
		"Transfer-Encoding: chunked\r\n\r\n")
	reply, answer := front.wantFramed(t), front.got
	assert.Equal(t, "ok", reply.body)
	for _, name := range []string{"x-mine", "keep-alive"} {
		assert.NotContains(t, reply.fields, name, ruleHopByHop)
	}
	assert.Equal(t, 2, strings.Count(answer, "Set-Cookie: "), "two field lines stay two")
	assert.Equal(t, 1, strings.Count(answer, "Date: "))
	assert.Contains(t, answer, "Via: 1.0 other\r\nVia: 1.1 socketup\r\n")
}

// A request that two programs could frame differently must not be forwarded.
func TestNoRequestIsSmuggledThroughTheGateway(t *testing.T) {
	t.Parallel()
	s, got := startRecording(t, testutil.Response200("ok"))
	r, _ := startGateway(t, s.Addr)
	const evil = "GET /evil HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, sent := range map[string]string{
		"both framings":       "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + evil,
		"two lengths":         fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: %d\r\n\r\n", len(evil)) + evil,
		"a hidden coding":     "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + evil,
		"a space and a colon": "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\n" + evil,
		"a bare LF":           "POST / HTTP/1.1\r\nHost: x\r\nA: b\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + evil,
		"HTTP/1.0, chunked":   "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + evil,
	} {
		front := sendAndRead(t, r.addr, "MUST, RFC 9112 §6.3: a request with ambiguous framing is refused, not forwarded", "request.go, Parse", sent)

		if !strings.HasPrefix(front.got, "HTTP/1.1 501") { // 501 is right for an unknown coding
			front.wantPrefix(t, "HTTP/1.1 400 ")
		}
		select {
		case passed := <-got:
			t.Errorf("%s: the backend got %q", name, passed)
		default:
		}
	}
}

// A Content-Length that Connection names, or a chunk extension, is not
// forwarded: the gateway writes the framing itself.
func TestGatewayWritesItsOwnFraming(t *testing.T) {
	t.Parallel()
	s, got := startRecording(t, testutil.Response200("ok"))
	r, _ := startGateway(t, s.Addr)

	sendAndRead(t, r.addr, "", "", "POST / HTTP/1.1\r\nHost: x\r\nConnection: close, Content-Length, Host\r\nContent-Length: 003\r\n\r\nabc")

	back := transcript{got: receive(t, got, "a request at the backend"), rule: "house rule: framing is rewritten, never forwarded", look: "request.go, AppendTo"}
	back.wantPrefix(t, "POST / HTTP/1.1\r\nHost: x\r\n")
	assert.True(t, strings.HasSuffix(back.got, "\r\nContent-Length: 3\r\n\r\nabc"), back.got)
}

// Connection removes the fields it names. It must not remove those the gateway
// adds: a backend that trusts its gateway believes X-Forwarded-For
// (CVE-2022-31813).
func TestConnectionFieldCannotRemoveForwardingFields(t *testing.T) {
	t.Parallel()
	s, got := startRecording(t, testutil.Response200("ok"))
	r, _ := startGateway(t, s.Addr)
	host, _, _ := net.SplitHostPort(r.addr)

	sendAndRead(t, r.addr, "", "", get("/", "Connection: close, X-Forwarded-For, Forwarded, Via\r\nX-Forwarded-For: 192.0.2.1\r\n"))

	passed := receive(t, got, "the request")
	for _, want := range []string{"X-Forwarded-For: 192.0.2.1, " + host, "Forwarded: for=" + host, "Via: 1.1 socketup"} {
		assert.Contains(t, passed, "\r\n"+want, "house rule: Connection cannot remove the gateway's own fields. forwarding.go, build")
	}
}

func TestBackendFailuresHaveAStatusAndAReason(t *testing.T) {
	t.Parallel()
	silent := testutil.ServeScript(t, func(c *net.TCPConn, _ int) { io.Copy(io.Discard, c) }).Addr
	hasty := func(g *gateway.Gateway) { g.Timeouts.Head = 30 * time.Millisecond }
	for name, c := range map[string]struct {
		addr   string
		change func(*gateway.Gateway)
		status int
		says   string
	}{
		"closed port":       {testutil.FreeAddr(t), nil, 502, "refused: connection refused"},
		"closes at once":    {testutil.ServeScript(t, func(*net.TCPConn, int) {}).Addr, nil, 502, "the connection ended before the response"},
		"garbage":           {testutil.ServeResponses(t, func(int, *http.Request) string { return "SSH-2.0-OpenSSH\r\n" }).Addr, nil, 502, "bad response"},
		"half a head":       {startAnsweringOnce(t, "HTTP/1.1 200 OK\r\nContent-"), nil, 502, "the connection ended before the response"},
		"half a short body": {startAnsweringOnce(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"), nil, 0, ""},
		"never answers":     {silent, hasty, 504, "no response in time"},
		"never accepts":     {testutil.UnresponsiveAddr(t), func(g *gateway.Gateway) { g.Timeouts.Connect = 30 * time.Millisecond }, 504, "timed out after 30ms"},
		"no connection free": {silent, func(g *gateway.Gateway) {
			hasty(g)
			g.Pool.Limits.PerBackend, g.Pool.Limits.MaxWait = 0, time.Millisecond
		}, 503, "no connection came free in time"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			change := []func(*gateway.Gateway){func(g *gateway.Gateway) { g.ShowBackends = true }}
			if c.change != nil {
				change = append(change, c.change)
			}
			r, g := startGateway(t, c.addr, change...)

			s := sendAndRead(t, r.addr, "RFC 9110 §15.6: 502 for an invalid response, 503 without a free connection, 504 for a timeout", "gateway.go, sendError", get("/x", closeField))

			if c.status != 0 {
				s.wantPrefix(t, fmt.Sprintf("HTTP/1.1 %d ", c.status))
				body := s.wantFramed(t).body
				assert.Contains(t, body, "backend http://"+c.addr)
				assert.Contains(t, body, c.says)
			}
			assert.Zero(t, g.Pool.Stats().Permits)
		})
	}
}

// startAnsweringOnce starts a backend that responds to the first request with
// bytes, then closes.
func startAnsweringOnce(t testing.TB, bytes string) (addr string) {
	return testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
		c.Read(make([]byte, 4<<10))
		io.WriteString(c, bytes)
	}).Addr
}

// Once a byte of the response is sent the status cannot change: all the gateway
// can do is truncate.
func TestTruncatedResponseStaysTruncated(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 100_000)
	for name, answer := range map[string]string{
		"Content-Length": "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + long,
		"chunked":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n" + long + "\r\n",
		"a bad chunk":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n" + long + "\r\nxyz\r\n",
	} {
		r, g := startGateway(t, startAnsweringOnce(t, answer))

		s := sendAndRead(t, r.addr, "house rule: a truncated response is detectable by the client (RFC 9112 §8)", "gateway.go, copyResponse", get("/", closeField))

		s.wantPrefix(t, "HTTP/1.1 200 OK\r\n")
		assert.Equal(t, 1, strings.Count(s.got, "HTTP/1.1"), "%s: a second status line is a part of the body", name)
		assert.False(t, strings.HasSuffix(s.got, "0\r\n\r\n"), "%s: the answer ends as if it were whole: a lie. gateway.go, copyResponse", name)
		eventually(t, "the truncation is counted", func() bool { return g.Counts.Truncated.Load() == 1 })
		eventually(t, "the backend connection is closed", func() bool { return g.Pool.Stats().Permits == 0 })
	}
}

func TestIdempotentRequestIsRetriedOnAFreshConnection(t *testing.T) {
	t.Parallel()
	for _, request := range []string{get("/", closeField), "PUT / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc"} {
		s, _ := testutil.ServeThenDie(t)
		r, g := startGateway(t, s.Addr)
		sendAndRead(t, r.addr, "", "", get("/", closeField)).wantPrefix(t, "HTTP/1.1 200 OK\r\n")

		again := sendAndRead(t, r.addr, "RFC 9110 §9.2.2: an idempotent request may be retried", "roundtrip.go", request)

		again.wantPrefix(t, "HTTP/1.1 200 OK\r\n")
		assert.Equal(t, 2, s.Accepted())
		assert.EqualValues(t, 1, g.Pool.Stats().Backend(s.Addr).Retried)
	}
}

func TestPOSTIsNeverRetried(t *testing.T) {
	t.Parallel()
	s, requests := testutil.ServeThenDie(t)
	r, _ := startGateway(t, s.Addr)
	sendAndRead(t, r.addr, "", "", get("/", closeField)).wantPrefix(t, "HTTP/1.1 200 OK\r\n")

	failed := sendAndRead(t, r.addr, "MUST NOT, RFC 9110 §9.2.2: a proxy does not retry a request that is not idempotent", "retry.go, MayRetry", post("/pay", "10 euros", closeField))

	assert.EqualValues(t, 1, requests("POST"), "somebody has paid twice")
	failed.wantPrefix(t, "HTTP/1.1 502 ")
}

// A backend that always closes must not be retried for ever.
func TestRequestIsRetriedOnlyOnce(t *testing.T) {
	t.Parallel()
	s := testutil.ServeResponses(t, func(connection int, r *http.Request) string {
		if r.URL.Path == "/first" {
			return testutil.Response200("ok")
		}
		return ""
	})
	p := newSmallPool(t, 2)
	_, _, err := poolRoundTrip(p, s.Addr, getRequest("/first"))
	require.NoError(t, err)

	_, _, err = poolRoundTrip(p, s.Addr, getRequest("/"))

	assert.ErrorIs(t, err, client.ErrEnded)
	assert.Equal(t, 2, s.Accepted(), "the kept connection, and a new one")
	assert.Zero(t, p.Stats().Permits)
}

// What a backend sends is forwarded immediately, not when the response is
// complete.
func TestGatewayStreamsResponses(t *testing.T) {
	t.Parallel()
	next := make(chan string)
	s := testutil.ServeScript(t, inPieces(t, next))
	r, _ := startGateway(t, s.Addr)
	c := converse(t, r.addr, get("/"))
	step := func(piece, want string) {
		send(t, next, piece, "the backend has sent its last piece")
		seen := ""
		for !strings.HasSuffix(seen, want) {
			b := make([]byte, 1)
			_, err := c.Read(b)
			require.NoError(t, err, "house rule: received bytes are forwarded immediately. gateway.go, copyResponse; received so far: %q", seen)
			seen += string(b)
		}
	}

	step("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n")
	step("5\r\nfirst\r\n", "5\r\nfirst\r\n")
	step("6\r\nsecond\r\n", "6\r\nsecond\r\n")
	step("0\r\n\r\n", "0\r\n\r\n")
}

// A side that does not read stops the other side, by flow control: the gateway
// does not buffer for it.
func TestSlowReaderBackpressuresTheOtherSide(t *testing.T) { // not parallel: it measures memory
	const much = 512 << 20
	var sent atomic.Int64
	s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
		head := make([]byte, 14)
		io.ReadFull(c, head)
		if string(head[:4]) == "POST" {
			<-t.Context().Done() // never reads
			return
		}
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", much)
		piece := make([]byte, 64<<10)
		for n, err := c.Write(piece); err == nil; n, err = c.Write(piece) {
			sent.Add(int64(n))
		}
	})
	g := gateway.New(newSmallPool(t, 4), []gateway.Backend{{Path: "/", Addr: s.Addr}})
	r := startServer(t, withHandler(g.Handler(routes())), func(s *server.Server) { s.Limits.Body = much })
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)

	converse(t, r.addr, get("/")) // never reads
	upload := converse(t, r.addr, fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", much))
	var uploaded int64
	piece := make([]byte, 64<<10)
	for n, err := 0, error(nil); err == nil; uploaded += int64(n) { // until the gateway reads no more
		upload.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
		n, err = upload.Write(piece)
	}
	awaitStandstill(&sent)

	runtime.GC()
	runtime.ReadMemStats(&after)
	assert.Less(t, sent.Load(), int64(64<<20), "the download continues: something buffers it")
	assert.Less(t, uploaded, int64(64<<20), "the upload continues: something buffers it")
	assert.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(8<<20))
}

func TestDisconnectedClientsLeakNoConnection(t *testing.T) {
	t.Parallel()
	s := testutil.ServeResponses(t, func(_ int, r *http.Request) string {
		if r.URL.Path == "/never" {
			select {
			case <-t.Context().Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
		return testutil.Response200(strings.Repeat("x", 1000))
	})
	r, g := startGateway(t, s.Addr)
	whole := post("/", strings.Repeat("b", 40_000)) + get("/never")
	for cut := 1; cut < len(whole); cut += 1 + cut/4 {
		c := dial(t, r.addr)
		io.WriteString(c, whole[:cut])
		c.SetLinger(0) // closes with a reset
		c.Close()
	}

	eventually(t, "all connections are back in the pool", func() bool {
		b := g.Pool.Stats().Backend(s.Addr)
		return b.Leased == 0 && b.Waiting == 0
	})
	sendAndRead(t, r.addr, "", "", get("/", closeField)).wantPrefix(t, "HTTP/1.1 200 OK\r\n")
}

func TestPathPrefixChoosesTheBackend(t *testing.T) {
	t.Parallel()
	named := func(name string) string {
		return testutil.ServeResponses(t, func(_ int, r *http.Request) string { return testutil.Response200(name + r.URL.Path) }).Addr
	}
	p := newSmallPool(t, 4)
	g := gateway.New(p, []gateway.Backend{{Path: "/api", Addr: named("api:")}, {Path: "/api/v2/", Addr: named("v2:")}})
	r := startServer(t, withHandler(g.Handler(routes())))
	for path, want := range map[string]string{
		"/api": "api:/api", "/api/x?y": "api:/api/x", "/api/v2/x": "v2:/api/v2/x", "/": "Hello, World!\n", "/apis": "404 Not Found: nothing is at /apis\n",
	} {
		assert.Equal(t, want, sendAndRead(t, r.addr, "", "", get(path, closeField)).wantFramed(t).body, path)
	}
}

func TestGatewayLoopGets508(t *testing.T) {
	t.Parallel()
	p := newSmallPool(t, 64)
	ready := make(chan server.Handler, 1)
	r := startServer(t, withHandler(func(w *server.Response, r *server.Request) {
		h := <-ready
		ready <- h
		h(w, r)
	}))
	ready <- gateway.New(p, []gateway.Backend{{Path: "/", Addr: r.addr}}).Handler(routes())
	defer p.Close()

	sendAndRead(t, r.addr, "RFC 9110 §7.6.3: Via detects forwarding loops", "gateway.go, forward", get("/", closeField)).wantPrefix(t, "HTTP/1.1 508 ")
}

func TestPipelinedRequestsAreAnsweredInOrderFromTheBackend(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	var others atomic.Int64
	s := testutil.ServeResponses(t, func(_ int, r *http.Request) string {
		if r.URL.Path == "/1" {
			select {
			case <-release:
			case <-t.Context().Done():
			}
		} else {
			others.Add(1)
		}
		return testutil.Response200(r.URL.Path)
	})
	r, _ := startGateway(t, s.Addr)
	c := converse(t, r.addr, get("/1")+get("/2")+get("/3", closeField))
	eventually(t, "2 and 3 have been answered", func() bool { return others.Load() == 2 })

	close(release)

	assert.Equal(t, []string{"/1", "/2", "/3"}, transcript{rule: "MUST, RFC 9112 §9.3.2: responses in the order of the requests", look: "slot.go"}.readAll(c).parseBodies(t, 3))
}

func TestHEADAndHTTP10ClientsGetASuitableResponse(t *testing.T) {
	t.Parallel()
	s := testutil.ServeResponses(t, func(_ int, r *http.Request) string {
		if r.Method == "HEAD" {
			return "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"
		}
		return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
	})
	r, _ := startGateway(t, s.Addr)

	head := sendAndRead(t, r.addr, "", "", "HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").parse(t)
	old := sendAndRead(t, r.addr, "MUST NOT, RFC 9112 §6.1: no chunked coding to HTTP/1.0", "response.go", "GET / HTTP/1.0\r\n\r\n").parse(t)

	assert.Equal(t, "1234", head.fields["content-length"])
	assert.Empty(t, head.body)
	assert.NotContains(t, old.fields, "transfer-encoding")
	assert.Equal(t, "hello", old.body)
}

// A client may be untrusted: the response tells it the kind of failure, and
// only the log names the backend.
func TestClientsAreNotToldWhichBackendFailed(t *testing.T) {
	t.Parallel()
	silent := testutil.ServeScript(t, func(c *net.TCPConn, _ int) { io.Copy(io.Discard, c) }).Addr
	for says, c := range map[string]struct {
		addr   string
		status int
	}{
		"the backend: refused\n":                                        {testutil.FreeAddr(t), 502},
		"the backend: the connection ended before the response\n":       {testutil.ServeScript(t, func(*net.TCPConn, int) {}).Addr, 502},
		"the backend: bad response\n":                                   {testutil.ServeResponses(t, func(int, *http.Request) string { return "SSH-2.0-OpenSSH\r\n\r\n" }).Addr, 502},
		"the backend: no response in time\n":                            {silent, 504},
		"the backend: no such host\n":                                   {"-nobody.example:80", 502}, // no name begins with a hyphen: package net does not ask DNS
		"the backend: the gateway cannot open another connection now\n": {"short.example:80", 503},
	} {
		for _, engine := range []bool{false, true} {
			g := gateway.New(newSmallPool(t, 4), []gateway.Backend{{Path: "/", Addr: c.addr, Engine: engine}})
			g.Timeouts.Head = 30 * time.Millisecond
			g.Pool.Dial = func(ctx context.Context, addr string, timeout time.Duration) (*client.Conn, error) {
				if addr == "short.example:80" { // shortage_linux_test.go has a real shortage
					return nil, fmt.Errorf("looking up %s: %w", addr, unix.EMFILE)
				}
				return client.Dial(ctx, addr, timeout)
			}
			r := startServer(t, withOffload(g))

			s := sendAndRead(t, r.addr, "house rule: an error response does not reveal a backend's address", "gateway.go, sendError", get("/", closeField))

			s.wantPrefix(t, fmt.Sprintf("HTTP/1.1 %d ", c.status))
			s.wantSame(t, "the body", http1.StatusText(c.status)+": "+says, s.wantFramed(t).body)
			assert.Equal(t, c.status == 503, strings.Contains(s.got, "\r\nRetry-After: 1\r\n"))
			eventually(t, "the log names the backend's address", func() bool {
				return strings.Contains(r.logs.String(), fmt.Sprintf("msg=\"backend %s: %d\" error=", c.addr, c.status))
			})
		}
	}
}

func TestLocalShortageIs503(t *testing.T) {
	t.Parallel()
	for _, errno := range []error{unix.EMFILE, unix.ENFILE, unix.EADDRNOTAVAIL, unix.ENOBUFS} {
		p := newSmallPool(t, 1)
		p.Dial = func(context.Context, string, time.Duration) (*client.Conn, error) {
			return nil, fmt.Errorf("socket: %w", errno)
		}
		r := startServer(t, withHandler(gateway.New(p, []gateway.Backend{{Path: "/", Addr: "127.0.0.1:1"}}).Handler(routes())))

		s := sendAndRead(t, r.addr, "RFC 9110 §15.6.3, §15.6.4: 502 is for a failure of the backend, 503 for one of the gateway", "failures.go, isLocalShortage", get("/", closeField))

		s.wantPrefix(t, "HTTP/1.1 503 ")
		assert.Contains(t, s.got, "\r\nRetry-After: 1\r\n", errno)
	}
}

// Of repeated failures one line a second is logged; the rest are counted.
func TestRepeatedFailuresDoNotFillTheLog(t *testing.T) {
	t.Parallel()
	r, _ := startGateway(t, testutil.FreeAddr(t))

	sendAndRead(t, r.addr, "", "", strings.Repeat(get("/"), 200)+get("/", closeField))

	logged := strings.Count(r.logs.String(), "msg=\"backend ")
	assert.NotZero(t, logged)
	assert.Less(t, logged, 50, "house rule: repeated log lines are counted, not written. dedup.go") // 201 if each failure were logged
}

func TestAdminShowsStatsAndDropsConnections(t *testing.T) {
	t.Parallel()
	s := testutil.ServePolite(t)
	r, g := startGateway(t, s.Addr)
	g.AdminNames = []string{"socket.up"}
	admin := startServer(t, withHandler(g.ProtectAdmin(adminRoutes(g))))
	sendAndRead(t, r.addr, "", "", get("/", closeField)).wantPrefix(t, "HTTP/1.1 200 OK\r\n")

	var stats struct {
		Gateway gateway.Stats
		Pool    pool.Stats
	}
	require.NoError(t, json.Unmarshal([]byte(sendAndRead(t, admin.addr, "", "", get("/-/stats", closeField)).wantFramed(t).body), &stats))
	assert.EqualValues(t, 1, stats.Gateway.Requests)
	assert.Equal(t, 1, stats.Pool.Backend(s.Addr).Idle)
	metrics := sendAndRead(t, admin.addr, "", "", get("/-/metrics", closeField)).wantFramed(t).body
	parseExposition(t, metrics)
	assert.Contains(t, metrics, fmt.Sprintf("socketup_pool_connections{backend=%q,state=\"idle\"} 1\n", s.Addr))

	sendAndRead(t, admin.addr, "", "", get("/-/drop", closeField)).wantPrefix(t, "HTTP/1.1 405 ")
	none := gateway.New(newSmallPool(t, 1), nil)
	none.AdminNames = g.AdminNames
	sendAndRead(t, startServer(t, withHandler(none.ProtectAdmin(adminRoutes(none)))).addr, "", "", post("/-/drop", "", closeField)).wantPrefix(t, "HTTP/1.1 200 ")
	dropped := sendAndRead(t, admin.addr, "", "", post("/-/drop?backend="+s.Addr, "", closeField))

	assert.Contains(t, dropped.wantFramed(t).body, s.Addr+": 1 idle connections closed")
	assert.Zero(t, g.Pool.Stats().Permits)
}

func TestBackendSeesTheIPv4AddressOfAnIPv4Client(t *testing.T) {
	t.Parallel()
	s, got := startRecording(t, testutil.Response200("ok"))
	_, g := startGateway(t, s.Addr)
	_, addr := startOnIPv6(t, withHandler(g.Handler(routes())))

	sendAndRead(t, addr, "", "", get("/", closeField))

	passed := receive(t, got, "the request")
	for _, want := range []string{"X-Forwarded-For: 127.0.0.1\r\n", "Forwarded: for=127.0.0.1;host"} {
		assert.Contains(t, passed, "\r\n"+want, ruleMappedIPv4)
	}
}

func TestTruncatedBackendResponseEndsInAResetForHTTP10(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"chunked":              "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"ends with its socket": "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf",
	} {
		passed := make(chan bool)
		s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
			c.Read(make([]byte, 1<<10))
			io.WriteString(c, answer)
			<-passed
			c.SetLinger(0) // and closes: a reset
		})
		r, _ := startGateway(t, s.Addr)
		c := converse(t, r.addr, http10Get("/"))
		in := bufio.NewReader(c)
		for line := ""; line != "\r\n"; {
			var err error
			line, err = in.ReadString('\n')
			require.NoError(t, err, name)
		}
		close(passed)

		got, err := io.ReadAll(in)

		transcript{sent: http10Get("/"), got: string(got), end: err, rule: ruleResetOnTruncation, look: "closedelimited.go"}.wantReset(t, "half")
	}
}
