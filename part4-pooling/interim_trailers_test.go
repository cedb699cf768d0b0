package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/server"
)

// A steppingBackend is a backend whose every read and write the test does
// itself, step by step.
type steppingBackend struct {
	addr  string
	conns chan *net.TCPConn // in the order of accept; each is closed when the test ends
}

func startSteppingBackend(t *testing.T) steppingBackend {
	t.Helper()
	conns := make(chan *net.TCPConn, 10)
	s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
		conns <- c
		<-t.Context().Done()
	})
	return steppingBackend{s.Addr, conns}
}

// readHead reads a request head from c, and not a byte more.
func readHead(t testing.TB, c net.Conn) string {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(maxWait))
	text, one := "", make([]byte, 1)
	for !strings.HasSuffix(text, "\r\n\r\n") {
		_, err := io.ReadFull(c, one)
		require.NoError(t, err, "waited for a head; received so far: %q", text)
		text += string(one)
	}
	return text
}

// requireSilence fails the test if a byte arrives on c within a short time.
func requireSilence(t testing.TB, c net.Conn, what string) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	b := make([]byte, 100)
	n, err := c.Read(b)
	if n > 0 || err == io.EOF {
		t.Fatalf("%s: %q, %v", what, b[:n], err)
	}
	c.SetReadDeadline(time.Now().Add(maxWait))
}

const ruleInterim = "MUST, RFC 9110 §15.2: a proxy forwards 1xx, but only to HTTP/1.1 clients"

const earlyHints = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\nKeep-Alive: timeout=1\r\n\r\n"

func TestEarlyHintsAreForwardedBeforeTheResponse(t *testing.T) {
	t.Parallel()
	backend := startSteppingBackend(t)
	r, _ := startGateway(t, backend.addr)
	front := converse(t, r.addr, get("/", closeField))
	c := receive(t, backend.conns, "a connection to the backend")
	readHead(t, c)
	s := transcript{sent: get("/", closeField), rule: ruleInterim, look: "trailers.go, forwardInterim"}

	io.WriteString(c, earlyHints)
	requireRead(t, front, s, "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\nVia: 1.1 socketup\r\n\r\n")

	io.WriteString(c, testutil.Response200("ok"))
	assert.Equal(t, "ok", s.readAll(front).wantFramed(t).body)
}

func TestEarlyHintsAreNotSentToHTTP10Clients(t *testing.T) {
	t.Parallel()
	s := testutil.ServeResponses(t, func(int, *http.Request) string { return earlyHints + testutil.Response200("ok") })
	r, _ := startGateway(t, s.Addr)

	old := sendAndRead(t, r.addr, ruleInterim, "trailers.go, forwardInterim", "GET / HTTP/1.0\r\n\r\n")

	old.wantPrefix(t, "HTTP/1.1 200 OK\r\n")
	assert.Equal(t, "ok", old.wantFramed(t).body)
}

// The responses of one connection are sent in order, and so are their interim
// responses.
func TestEarlyHintsWaitForTheirTurn(t *testing.T) {
	t.Parallel()
	release, asked := make(chan bool), make(chan bool, 1)
	s := testutil.ServeResponses(t, func(_ int, r *http.Request) string {
		if r.URL.Path == "/2" {
			asked <- true
			return earlyHints + testutil.Response200("2")
		}
		<-release
		return testutil.Response200("1")
	})
	r, _ := startGateway(t, s.Addr)
	sent := get("/1") + get("/2", closeField)
	front := converse(t, r.addr, sent)
	receive(t, asked, "the second request at the backend")

	requireSilence(t, front, "something arrived before the first response")
	close(release)

	got := transcript{sent: sent, rule: "MUST, RFC 9112 §9.3.2: responses in the order of the requests, 1xx included", look: "proxy.go, WriteInterim"}.readAll(front)
	all := got.parseAll(t, "GET", "GET", "GET")
	assert.Equal(t, []string{"200 OK", "103 Early Hints", "200 OK"}, []string{all[0].status, all[1].status, all[2].status})
	assert.Equal(t, "2", all[2].body)
}

const ruleExpectContinue = "MUST, RFC 9110 §10.1.1: a proxy forwards 100-continue, or sends a final response itself"

// The backend, not the gateway, decides whether it wants the body.
func TestContinueIsForwardedFromTheBackend(t *testing.T) {
	t.Parallel()
	for name, framing := range map[string]string{"with a length": "Content-Length: 5\r\n", "in chunks": "Transfer-Encoding: chunked\r\n"} {
		backend := startSteppingBackend(t)
		r, g := startGateway(t, backend.addr)
		request := "PUT /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\n" + framing + "\r\n"
		s := transcript{sent: request, rule: ruleExpectContinue, look: "responsehead.go, handleInterim; gateway.go, setBody"}
		front := converse(t, r.addr, request)
		c := receive(t, backend.conns, "a connection to the backend")
		assert.Contains(t, readHead(t, c), "\r\nExpect: 100-continue\r\n"+framing+"\r\n", "%s: %s", name, ruleExpectContinue)

		requireSilence(t, front, "the backend has not sent 100 Continue, and the client received")
		io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
		requireRead(t, front, s, "HTTP/1.1 100 Continue\r\n\r\n")
		body := "hello"
		if name == "in chunks" {
			body = "5\r\nhello\r\n0\r\n\r\n"
		}
		io.WriteString(front, body)
		requireRead(t, c, transcript{rule: ruleExpectContinue, look: "upload.go"}, body)
		io.WriteString(c, testutil.Response200("done"))

		assert.Equal(t, "done", s.readAll(front).wantFramed(t).body)
		eventually(t, "the backend connection is kept", func() bool { return g.Pool.Stats().Backend(backend.addr).Idle == 1 })
	}
}

func TestRefusedBodyIsNeverRequested(t *testing.T) {
	t.Parallel()
	s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
		readHead(t, c)
		io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno\n")
		rest, _ := io.ReadAll(c)
		assert.Empty(t, rest, "the backend has refused the body")
	})
	r, g := startGateway(t, s.Addr)

	got := sendAndRead(t, r.addr, ruleExpectContinue, "responsehead.go, handleInterim", "PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100000\r\n\r\n")

	got.wantPrefix(t, "HTTP/1.1 413 ")
	got.wantCleanEnd(t)
	reply := got.wantFramed(t)
	assert.Equal(t, "no\n", reply.body)
	assert.Equal(t, "close", reply.fields["connection"], "a client that got no 100 Continue may send the body or not: the next bytes are ambiguous")
	assert.Zero(t, g.Pool.Stats().Permits, "the framing to the backend is ambiguous too")
}

// The backend may send 100 Continue and its response together. Then the
// response may be on its way to the client before the body is read, and it is
// too late to forward the 100.
func TestNoInterimResponseInsideAResponse(t *testing.T) {
	t.Parallel()
	const rounds = 50
	seen := make(chan bool, rounds)
	backend := testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
		readHead(t, c)
		io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
		<-seen
		io.WriteString(c, "0\r\n\r\n")
		io.Copy(io.Discard, c)
	})
	r, _ := startGateway(t, backend.Addr)
	request := "PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100000\r\n\r\n"
	s := transcript{sent: request, rule: "MUST, RFC 9110 §15.2: interim responses precede the final one", look: "handlerio.go, readMoreBody"}
	for range rounds {
		c := converse(t, r.addr, request)
		got := readUntil(t, c, "first")
		seen <- true

		s := s.readAll(c)
		s.got = got + s.got
		if at := strings.Index(s.got, "HTTP/1.1 200"); strings.Contains(s.got[at:], "HTTP/1.1 100") {
			s.fail(t, at+strings.Index(s.got[at:], "HTTP/1.1 100"), "100 Continue was sent in the middle of a response")
		}
	}
}

func TestLateEarlyHintsAreNotForwarded(t *testing.T) {
	r := startServer(t, withHandler(func(w *server.Response, r *server.Request) {
		w.WriteString("first, ")
		w.Flush()
		w.WriteInterim([]byte("HTTP/1.1 103 Early Hints\r\n\r\n"))
		w.WriteString("last")
	}))

	s := sendAndRead(t, r.addr, "MUST, RFC 9110 §15.2: interim responses precede the final one", "proxy.go, WriteInterim", get("/", closeField))

	assert.Equal(t, []string{"first, last"}, s.parseBodies(t, 1))
}

// Many servers do not implement 100 Continue.
func TestBodyIsSentWithout100ContinueAfterATimeout(t *testing.T) {
	t.Parallel()
	s := testutil.ServeResponses(t, func(_ int, r *http.Request) string { return testutil.Response200("got it") }) // reads the body without sending 100 Continue
	r, _ := startGateway(t, s.Addr)

	got := sendAndRead(t, r.addr, "MUST NOT, RFC 9110 §10.1.1: wait indefinitely for 100 Continue", "responsehead.go, waitForHead",
		post("/", "hello", "Expect: 100-continue\r\n", closeField))

	assert.Equal(t, "got it", got.wantFramed(t).body)
}

// The backend responds while the client's upload has stalled.
func TestEarlyResponseReachesAClientThatIsStillSending(t *testing.T) {
	t.Parallel()
	const much = 32 << 20 // more than the kernels on the path buffer
	for name, sends := range map[string]int{"and has stalled": 1000, "as fast as it can": much} {
		s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
			readHead(t, c)
			io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno\n")
			<-t.Context().Done() // stops reading
		})
		g := gateway.New(newSmallPool(t, 4), []gateway.Backend{{Path: "/", Addr: s.Addr}})
		r := startServer(t, withHandler(g.Handler(routes())), func(s *server.Server) { s.Limits.BodyTime, s.Limits.Body = time.Hour, much })

		got := sendAndRead(t, r.addr, "RFC 9112 §9.5: a client watches for a response while it sends a body, so a gateway forwards it immediately", "upload.go, stop; proxy.go, CancelRead",
			fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", much), strings.Repeat("x", sends))

		got.wantPrefix(t, "HTTP/1.1 413 ")
		if sends < much { // otherwise the server may stop reading before the client stops sending
			got.wantCleanEnd(t)
		}
		reply := got.parse(t)
		assert.Equal(t, "close", reply.fields["connection"], "a client that sends %s: the rest of its body is not a request", name)
		assert.Equal(t, "no\n", reply.body)
		eventually(t, "the backend connection is closed", func() bool { return g.Pool.Stats().Permits == 0 })
	}
}

const ruleTrailers = "RFC 9110 §6.5.1, §10.1.4: trailers go to clients with TE: trailers, without those that matter in a head"

func TestTrailersAreForwardedWithTETrailers(t *testing.T) {
	t.Parallel()
	s, got := startRecording(t, "HTTP/1.1 200 OK\r\nTrailer: Digest\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nDigest: 42\r\nContent-Length: 9\r\nSet-Cookie: a\r\n\r\n")
	r, _ := startGateway(t, s.Addr)

	wants := sendAndRead(t, r.addr, ruleTrailers, "proxy.go, WriteTrailers", get("/", "TE: deflate, Trailers\r\nConnection: close, TE\r\n"))
	assert.Contains(t, receive(t, got, "the request"), "\r\nConnection: TE\r\nTE: trailers\r\n")
	wants.wantPrefix(t, "HTTP/1.1 200 OK\r\n")
	assert.True(t, strings.HasSuffix(wants.got, "\r\n\r\n5\r\nhello\r\n0\r\nDigest: 42\r\n\r\n"), "%s; got %q", ruleTrailers, wants.got)
	assert.Equal(t, "Digest", wants.parse(t).fields["trailer"])

	for name, request := range map[string]string{"no TE": get("/", closeField), "HTTP/1.0": "GET / HTTP/1.0\r\nTE: trailers\r\n\r\n"} {
		not := sendAndRead(t, r.addr, ruleTrailers, "proxy.go, WriteTrailers", request)
		assert.NotContains(t, receive(t, got, "the request"), "TE: ", name)
		assert.NotContains(t, not.got, "Digest", name)
		not.wantPrefix(t, "HTTP/1.1 200 OK\r\n")
	}
}

func TestRequestTrailersAreForwarded(t *testing.T) {
	t.Parallel()
	trailers := make(chan http.Header, 1)
	s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err == nil {
			io.Copy(io.Discard, r.Body)
			trailers <- r.Trailer
			io.WriteString(c, testutil.Response200("ok"))
		}
	})
	r, _ := startGateway(t, s.Addr)

	sendAndRead(t, r.addr, ruleTrailers, "upload.go, appendTrailers", "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTrailer: Digest\r\nTransfer-Encoding: chunked\r\n\r\n"+
		"5\r\nhello\r\n0\r\nDigest: 42\r\nHost: evil\r\nTransfer-Encoding: chunked\r\n\r\n").wantPrefix(t, "HTTP/1.1 200 OK\r\n")

	assert.Equal(t, http.Header{"Digest": {"42"}}, receive(t, trailers, "the trailers"))
}

func TestMaxForwardsIsDecremented(t *testing.T) {
	t.Parallel()
	s, got := startRecording(t, testutil.Response200("ok"))
	r, _ := startGateway(t, s.Addr)
	const rule = "MUST, RFC 9110 §7.6.2: OPTIONS and TRACE with Max-Forwards: 0 are not forwarded; otherwise it is decremented"
	for _, c := range []struct{ method, max, answer, passed string }{
		{"OPTIONS", "0", "204 No Content", ""},
		{"OPTIONS", "1", "200 OK", "0"},
		{"OPTIONS", "10", "200 OK", "9"},
		{"GET", "0", "200 OK", "0"}, // not defined for GET: forwarded unchanged
		{"TRACE", "0", "501 Not Implemented", ""},
		{"TRACE", "1", "501 Not Implemented", ""},
	} {
		s := sendAndRead(t, r.addr, rule, "forwarding.go, decrementMaxForwards", c.method+" /x HTTP/1.1\r\nHost: x\r\nMax-Forwards: "+c.max+"\r\nConnection: close\r\n\r\n")

		s.wantPrefix(t, "HTTP/1.1 "+c.answer+"\r\n")
		select {
		case passed := <-got:
			assert.Contains(t, passed, "\r\nMax-Forwards: "+c.passed+"\r\n", "%s, Max-Forwards: %s. %s", c.method, c.max, rule)
		default:
			assert.Empty(t, c.passed, "%s, Max-Forwards: %s did not reach the backend. %s", c.method, c.max, rule)
		}
	}
}

// A gateway must not become a tunnel for a protocol that it does not
// understand.
func TestProtocolUpgradeIsRefused(t *testing.T) {
	t.Parallel()
	s, got := startRecording(t, testutil.Response200("ok"))
	r, _ := startGateway(t, s.Addr)

	upgrade := sendAndRead(t, r.addr, "RFC 9110 §7.8: Upgrade is hop-by-hop, and the recipient may ignore it", "forwarding.go, hopByHopFields",
		get("/", "Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c, websocket\r\nHTTP2-Settings: AAMAAABk\r\n"))
	upgrade.wantPrefix(t, "HTTP/1.1 200 OK\r\n")
	assert.NotRegexp(t, `(?i)upgrade|http2`, receive(t, got, "the request"))

	tunnel := sendAndRead(t, r.addr, "RFC 9110 §9.3.6: CONNECT is for proxies, and a gateway is not one", "request.go, parseTarget", "CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n")
	tunnel.wantPrefix(t, "HTTP/1.1 501 ")
	neverReceives(t, got, "CONNECT was forwarded to the backend")
}

func TestAmbiguousResponsesAreNotForwarded(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"both framings":            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"two lengths":              "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
		"a length without a digit": "HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nhello",
		"a folded line":            "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
		"space before colon":       "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello",
		"a change of protocol":     "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
	} {
		s := testutil.ServeResponses(t, func(int, *http.Request) string { return answer })
		r, g := startGateway(t, s.Addr)

		got := sendAndRead(t, r.addr, "MUST, RFC 9112 §6.3, §5.2, §5.1: a proxy sends 502 and closes the connection to the server", "response.go, Parse", get("/", closeField))

		got.wantPrefix(t, "HTTP/1.1 502 ")
		assert.Contains(t, got.wantFramed(t).body, "bad response", name)
		assert.Zero(t, g.Pool.Stats().Permits, name)
	}
}

// Via records the version in which a message was received: from an HTTP/1.0
// client, from an HTTP/1.0 server.
func TestViaNamesTheReceivedVersion(t *testing.T) {
	t.Parallel()
	s, got := startRecording(t, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok")
	r, _ := startGateway(t, s.Addr)
	const rule = "MUST, RFC 9110 §7.6.3: Via has the version of the received message"

	front := sendAndRead(t, r.addr, rule, "forwarding.go, build", "GET / HTTP/1.0\r\n\r\n")

	passed := receive(t, got, "the request")
	assert.Contains(t, passed, "GET / HTTP/1.1\r\n", "MUST, RFC 9110 §2.5: a gateway sends its own version")
	assert.Contains(t, passed, "\r\nVia: 1.0 socketup\r\n", rule)
	assert.Contains(t, front.got, "\r\nVia: 1.0 socketup\r\n", rule)
}

// Connection may name a trailer as well as a field of the head; both are
// removed. Trailers are forwarded from an allowlist: which ones are harmful
// depends on the next program.
func TestHopByHopTrailersAreRemoved(t *testing.T) {
	t.Parallel()
	const (
		rule      = "MUST, RFC 9110 §7.6.1: fields that Connection names are removed; §6.5.1: only trailers known to be safe are forwarded"
		named     = "Connection: ETag, Digest, close\r\n"
		announces = "Trailer: ETag , Content-Digest, X-Real-IP,X-Sum,,\r\n"
		bodyOf    = "5\r\nhello\r\n0\r\n"
		sent      = "ETag: named\r\nDIGEST: named\r\nContent-Digest: may\r\nX-Forwarded-Host: evil\r\nX-Real-IP: 127.0.0.1\r\nContent-Location: /evil\r\nX-Sum: 1\r\nHost: evil\r\n" +
			"X-Forwarded-Proto: https\r\nX-Http-Method-Override: DELETE\r\nConnection: Content-Digest\r\nForwarded: for=evil\r\nSet-Cookie: a=b\r\n\r\n"
	)
	got := make(chan string, 1)
	s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
		text := readHead(t, c)
		if strings.HasPrefix(text, "POST") {
			c.SetReadDeadline(time.Now().Add(maxWait))
			in := bufio.NewReader(c)
			for line := ""; line != "\r\n"; { // the first empty line ends the trailers
				var err error
				if line, err = in.ReadString('\n'); err != nil {
					break
				}
				text += line
			}
		}
		got <- text
		io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"+named+announces+"\r\n"+bodyOf+sent)
	})
	pooled, _ := startGateway(t, s.Addr)
	shared, g := startEngineGateway(t, s.Addr)

	for way, addr := range map[string]string{"the pool": pooled.addr, "an engine": shared.addr} {
		t.Run("a response through "+way, func(t *testing.T) {
			a := sendAndRead(t, addr, rule, "trailers.go, isAllowedTrailer", get("/", "TE: trailers\r\nConnection: TE, close\r\n"))
			receive(t, got, "the request")

			assert.Equal(t, "Content-Digest", a.parse(t).fields["trailer"], rule)
			assert.True(t, strings.HasSuffix(a.got, "\r\n\r\n"+bodyOf+"Content-Digest: may\r\n\r\n"), "%s; got %q", rule, a.got)
		})
	}
	assert.EqualValues(t, 1, g.EngineCounts.Pushed.Load())

	t.Run("a request", func(t *testing.T) {
		sendAndRead(t, pooled.addr, rule, "trailers.go, isAllowedTrailer", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"+named+announces+"\r\n"+bodyOf+sent).wantPrefix(t, "HTTP/1.1 200 OK\r\n")

		text := receive(t, got, "the request")
		assert.Contains(t, text, "\r\nTrailer: Content-Digest\r\n", rule)
		assert.True(t, strings.HasSuffix(text, "\r\n\r\n"+bodyOf+"Content-Digest: may\r\n\r\n"), "%s; the backend got %q", rule, text)
	})
}
