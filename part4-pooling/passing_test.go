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

// A stepping is a backend that is played by the test, step by step.
type stepping struct {
	addr  string
	conns chan *net.TCPConn // as they are accepted; each is closed when the test ends
}

func steppingBackend(t *testing.T) stepping {
	t.Helper()
	conns := make(chan *net.TCPConn, 10)
	s := testutil.Serve(t, func(c *net.TCPConn, _ int) {
		conns <- c
		<-t.Context().Done()
	})
	return stepping{s.Addr, conns}
}

// head reads a request's head on c, and not a byte more.
func head(t testing.TB, c net.Conn) string {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(limit))
	text, one := "", make([]byte, 1)
	for !strings.HasSuffix(text, "\r\n\r\n") {
		_, err := io.ReadFull(c, one)
		require.NoError(t, err, "waited for a head; so far came %q", text)
		text += string(one)
	}
	return text
}

// staysSilent fails the test if something comes on c in the moment that it is given.
func staysSilent(t testing.TB, c net.Conn, what string) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	b := make([]byte, 100)
	n, err := c.Read(b)
	if n > 0 || err == io.EOF {
		t.Fatalf("%s: %q, %v", what, b[:n], err)
	}
	c.SetReadDeadline(time.Now().Add(limit))
}

const interimRule = "MUST, RFC 9110 §15.2: a proxy forwards 1xx, and to clients of HTTP/1.1 only"

const hints = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\nKeep-Alive: timeout=1\r\n\r\n"

func TestEarlyHintsPassBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	backend := steppingBackend(t)
	r, _ := fronted(t, backend.addr)
	front := converse(t, r.addr, get("/", closing))
	c := soon(t, backend.conns, "a connection to the backend")
	head(t, c)
	s := story{sent: get("/", closing), rule: interimRule, look: "passing.go, passInterim"}

	io.WriteString(c, hints)
	expect(t, front, s, "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\nVia: 1.1 socketup\r\n\r\n")

	io.WriteString(c, testutil.Saying("ok"))
	assert.Equal(t, "ok", s.hear(front).framed(t).body)
}

func TestEarlyHintsAreNotForOldClients(t *testing.T) {
	t.Parallel()
	s := testutil.Answering(t, func(int, *http.Request) string { return hints + testutil.Saying("ok") })
	r, _ := fronted(t, s.Addr)

	old := tell(t, r.addr, interimRule, "passing.go, passInterim", "GET / HTTP/1.0\r\n\r\n")

	old.begins(t, "HTTP/1.1 200 OK\r\n")
	assert.Equal(t, "ok", old.framed(t).body)
}

// Answers of one connection leave in order, and so do answers before answers.
func TestEarlyHintsWaitForTheirTurn(t *testing.T) {
	t.Parallel()
	release, asked := make(chan bool), make(chan bool, 1)
	s := testutil.Answering(t, func(_ int, r *http.Request) string {
		if r.URL.Path == "/2" {
			asked <- true
			return hints + testutil.Saying("2")
		}
		<-release
		return testutil.Saying("1")
	})
	r, _ := fronted(t, s.Addr)
	sent := get("/1") + get("/2", closing)
	front := converse(t, r.addr, sent)
	soon(t, asked, "the second request at the backend")

	staysSilent(t, front, "something came before the first answer")
	close(release)

	got := story{sent: sent, rule: "MUST, RFC 9112 §9.3.2: answers in the order of the requests, 1xx included", look: "relay.go, interim"}.hear(front)
	all := got.replies(t, "GET", "GET", "GET")
	assert.Equal(t, []string{"200 OK", "103 Early Hints", "200 OK"}, []string{all[0].status, all[1].status, all[2].status})
	assert.Equal(t, "2", all[2].body)
}

const expectRule = "MUST, RFC 9110 §10.1.1: a proxy forwards 100-continue, or answers finally itself"

// Whether a body is wanted is for the backend to say.
func TestContinueComesFromTheBackend(t *testing.T) {
	t.Parallel()
	for name, framing := range map[string]string{"with a length": "Content-Length: 5\r\n", "in chunks": "Transfer-Encoding: chunked\r\n"} {
		backend := steppingBackend(t)
		r, g := fronted(t, backend.addr)
		request := "PUT /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\n" + framing + "\r\n"
		s := story{sent: request, rule: expectRule, look: "client.go, between; gateway.go, takeBody"}
		front := converse(t, r.addr, request)
		c := soon(t, backend.conns, "a connection to the backend")
		assert.Contains(t, head(t, c), "\r\nExpect: 100-continue\r\n"+framing+"\r\n", "%s: %s", name, expectRule)

		staysSilent(t, front, "the backend has not said whether it wants the body, and the client got")
		io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
		expect(t, front, s, "HTTP/1.1 100 Continue\r\n\r\n")
		body := "hello"
		if name == "in chunks" {
			body = "5\r\nhello\r\n0\r\n\r\n"
		}
		io.WriteString(front, body)
		expect(t, c, story{rule: expectRule, look: "upload.go"}, body)
		io.WriteString(c, testutil.Saying("done"))

		assert.Equal(t, "done", s.hear(front).framed(t).body)
		eventually(t, "the link is kept", func() bool { return g.Pool.Stats().Of(backend.addr).Idle == 1 })
	}
}

func TestBodyThatTheBackendDoesNotWantIsNeverAskedFor(t *testing.T) {
	t.Parallel()
	s := testutil.Serve(t, func(c *net.TCPConn, _ int) {
		head(t, c)
		io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno\n")
		rest, _ := io.ReadAll(c)
		assert.Empty(t, rest, "the backend does not want the body")
	})
	r, g := fronted(t, s.Addr)

	got := tell(t, r.addr, expectRule, "client.go, between", "PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100000\r\n\r\n")

	got.begins(t, "HTTP/1.1 413 ")
	got.endsCleanly(t)
	reply := got.framed(t)
	assert.Equal(t, "no\n", reply.body)
	assert.Equal(t, "close", reply.fields["connection"], "who was not told to send may do so or not: what comes next is not a request for sure")
	assert.Zero(t, g.Pool.Stats().Permits, "nor can the backend know what comes next")
}

// The backend may allow the body and answer in one breath. Then the answer may be
// on its way to the client before the body is read, and it is too late to ask for it.
func TestNothingInterimComesInTheMiddleOfAnAnswer(t *testing.T) {
	t.Parallel()
	const rounds = 50
	seen := make(chan bool, rounds)
	backend := testutil.Serve(t, func(c *net.TCPConn, _ int) {
		head(t, c)
		io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
		<-seen
		io.WriteString(c, "0\r\n\r\n")
		io.Copy(io.Discard, c)
	})
	r, _ := fronted(t, backend.Addr)
	request := "PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100000\r\n\r\n"
	s := story{sent: request, rule: "MUST, RFC 9110 §15.2: an interim answer comes before the final one", look: "handling.go, fill"}
	for range rounds {
		c := converse(t, r.addr, request)
		got := upTo(t, c, "first")
		seen <- true

		s := s.hear(c)
		s.got = got + s.got
		if at := strings.Index(s.got, "HTTP/1.1 200"); strings.Contains(s.got[at:], "HTTP/1.1 100") {
			s.fail(t, at+strings.Index(s.got[at:], "HTTP/1.1 100"), "100 Continue comes in the middle of an answer")
		}
	}
}

func TestEarlyHintsThatComeTooLateAreNotPassedOn(t *testing.T) {
	r := start(t, with(func(w *server.Response, r *server.Request) {
		w.WriteString("first, ")
		w.Flush()
		w.Interim([]byte("HTTP/1.1 103 Early Hints\r\n\r\n"))
		w.WriteString("last")
	}))

	s := tell(t, r.addr, "MUST, RFC 9110 §15.2: an interim answer comes before the final one", "relay.go, interim", get("/", closing))

	assert.Equal(t, []string{"first, last"}, s.bodies(t, 1))
}

// Many servers have never heard of 100 Continue.
func TestBodyGoesAlthoughNobodySaysContinue(t *testing.T) {
	t.Parallel()
	s := testutil.Answering(t, func(_ int, r *http.Request) string { return testutil.Saying("got it") }) // reads the body first
	r, _ := fronted(t, s.Addr)

	got := tell(t, r.addr, "MUST NOT, RFC 9110 §10.1.1: wait for 100 Continue for ever", "client.go, awaitHead",
		post("/", "hello", "Expect: 100-continue\r\n", closing))

	assert.Equal(t, "got it", got.framed(t).body)
}

// The uploader stalls and the backend has made up its mind.
func TestEarlyAnswerReachesTheClientThatStillSends(t *testing.T) {
	t.Parallel()
	const much = 32 << 20 // more than all kernels on the way take
	for name, sends := range map[string]int{"and has stalled": 1000, "as fast as it can": much} {
		s := testutil.Serve(t, func(c *net.TCPConn, _ int) {
			head(t, c)
			io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno\n")
			<-t.Context().Done() // and it reads no more
		})
		g := gateway.New(small(t, 4), []gateway.Prefix{{Path: "/", Addr: s.Addr}})
		r := start(t, with(g.Handler(routes())), func(s *server.Server) { s.Limits.BodyTime, s.Limits.Body = time.Hour, much })

		got := tell(t, r.addr, "RFC 9112 §9.5: a client that sends a body watches for an answer meanwhile, and so a gateway passes it on", "upload.go, end; relay.go, stop",
			fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", much), strings.Repeat("x", sends))

		got.begins(t, "HTTP/1.1 413 ")
		if sends < much { // else the server may stop reading before the client stops sending
			got.endsCleanly(t)
		}
		reply := got.reply(t)
		assert.Equal(t, "close", reply.fields["connection"], "a client that sends %s: the rest of its body is no request", name)
		assert.Equal(t, "no\n", reply.body)
		eventually(t, "the link is closed", func() bool { return g.Pool.Stats().Permits == 0 })
	}
}

const trailerRule = "RFC 9110 §6.5.1, §10.1.4: trailers are for who says TE: trailers, and none that could be taken for a field of the head"

func TestTrailersPassToWhoWantsThem(t *testing.T) {
	t.Parallel()
	s, got := recording(t, "HTTP/1.1 200 OK\r\nTrailer: Digest\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nDigest: 42\r\nContent-Length: 9\r\nSet-Cookie: a\r\n\r\n")
	r, _ := fronted(t, s.Addr)

	wants := tell(t, r.addr, trailerRule, "relay.go, endWith", get("/", "TE: deflate, Trailers\r\nConnection: close, TE\r\n"))
	assert.Contains(t, soon(t, got, "the request"), "\r\nConnection: TE\r\nTE: trailers\r\n")
	wants.begins(t, "HTTP/1.1 200 OK\r\n")
	assert.True(t, strings.HasSuffix(wants.got, "\r\n\r\n5\r\nhello\r\n0\r\nDigest: 42\r\n\r\n"), "%s; got %q", trailerRule, wants.got)
	assert.Equal(t, "Digest", wants.reply(t).fields["trailer"])

	for name, request := range map[string]string{"no TE": get("/", closing), "HTTP/1.0": "GET / HTTP/1.0\r\nTE: trailers\r\n\r\n"} {
		not := tell(t, r.addr, trailerRule, "relay.go, endWith", request)
		assert.NotContains(t, soon(t, got, "the request"), "TE: ", name)
		assert.NotContains(t, not.got, "Digest", name)
		not.begins(t, "HTTP/1.1 200 OK\r\n")
	}
}

func TestTrailersOfARequestPass(t *testing.T) {
	t.Parallel()
	trailers := make(chan http.Header, 1)
	s := testutil.Serve(t, func(c *net.TCPConn, _ int) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err == nil {
			io.Copy(io.Discard, r.Body)
			trailers <- r.Trailer
			io.WriteString(c, testutil.Saying("ok"))
		}
	})
	r, _ := fronted(t, s.Addr)

	tell(t, r.addr, trailerRule, "upload.go, appendTrailers", "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTrailer: Digest\r\nTransfer-Encoding: chunked\r\n\r\n"+
		"5\r\nhello\r\n0\r\nDigest: 42\r\nHost: evil\r\nTransfer-Encoding: chunked\r\n\r\n").begins(t, "HTTP/1.1 200 OK\r\n")

	assert.Equal(t, http.Header{"Digest": {"42"}}, soon(t, trailers, "the trailers"))
}

func TestMaxForwardsIsCountedDown(t *testing.T) {
	t.Parallel()
	s, got := recording(t, testutil.Saying("ok"))
	r, _ := fronted(t, s.Addr)
	const rule = "MUST, RFC 9110 §7.6.2: OPTIONS and TRACE with Max-Forwards: 0 go no further, and else with one less"
	for _, c := range []struct{ method, max, answer, passed string }{
		{"OPTIONS", "0", "204 No Content", ""},
		{"OPTIONS", "1", "200 OK", "0"},
		{"OPTIONS", "10", "200 OK", "9"},
		{"GET", "0", "200 OK", "0"}, // it means nothing there
		{"TRACE", "0", "501 Not Implemented", ""},
		{"TRACE", "1", "501 Not Implemented", ""},
	} {
		s := tell(t, r.addr, rule, "forward.go, oneHopLess", c.method+" /x HTTP/1.1\r\nHost: x\r\nMax-Forwards: "+c.max+"\r\nConnection: close\r\n\r\n")

		s.begins(t, "HTTP/1.1 "+c.answer+"\r\n")
		select {
		case passed := <-got:
			assert.Contains(t, passed, "\r\nMax-Forwards: "+c.passed+"\r\n", "%s, Max-Forwards: %s. %s", c.method, c.max, rule)
		default:
			assert.Empty(t, c.passed, "%s, Max-Forwards: %s did not reach the backend. %s", c.method, c.max, rule)
		}
	}
}

// A gateway that does not understand a protocol must not become a tunnel for it.
func TestNoOtherProtocolGetsThrough(t *testing.T) {
	t.Parallel()
	s, got := recording(t, testutil.Saying("ok"))
	r, _ := fronted(t, s.Addr)

	upgrade := tell(t, r.addr, "RFC 9110 §7.8: Upgrade is for the next program, who may ignore it", "forward.go, hops",
		get("/", "Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c, websocket\r\nHTTP2-Settings: AAMAAABk\r\n"))
	upgrade.begins(t, "HTTP/1.1 200 OK\r\n")
	assert.NotRegexp(t, `(?i)upgrade|http2`, soon(t, got, "the request"))

	tunnel := tell(t, r.addr, "RFC 9110 §9.3.6: CONNECT is for proxies, and a gateway is none", "request.go, parseTarget", "CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n")
	tunnel.begins(t, "HTTP/1.1 501 ")
	never(t, got, "the backend was asked for a tunnel")
}

func TestDoubtfulAnswersAreNotPassedOn(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"both framings":        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"two lengths":          "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
		"a length of no digit": "HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nhello",
		"a folded line":        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
		"space before colon":   "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello",
		"a change of protocol": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
	} {
		s := testutil.Answering(t, func(int, *http.Request) string { return answer })
		r, g := fronted(t, s.Addr)

		got := tell(t, r.addr, "MUST, RFC 9112 §6.3, §5.2, §5.1: a proxy answers 502 and closes the connection to the server", "answer.go, parse", get("/", closing))

		got.begins(t, "HTTP/1.1 502 ")
		assert.Contains(t, got.framed(t).body, "bad answer", name)
		assert.Zero(t, g.Pool.Stats().Permits, name)
	}
}

// Via tells which version a message came in: an old client, an old server.
func TestViaTellsTheVersionThatWasSpoken(t *testing.T) {
	t.Parallel()
	s, got := recording(t, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok")
	r, _ := fronted(t, s.Addr)
	const rule = "MUST, RFC 9110 §7.6.3: the protocol in Via is the one that the message came in"

	front := tell(t, r.addr, rule, "forward.go, take", "GET / HTTP/1.0\r\n\r\n")

	passed := soon(t, got, "the request")
	assert.Contains(t, passed, "GET / HTTP/1.1\r\n", "MUST, RFC 9110 §2.5: a gateway sends its own version")
	assert.Contains(t, passed, "\r\nVia: 1.0 socketup\r\n", rule)
	assert.Contains(t, front.got, "\r\nVia: 1.0 socketup\r\n", rule)
}

// What Connection names ends here, and a trailer is a field. What may pass
// behind a body is said by a list: of what does harm there the next program has
// its own.
func TestTrailersAreFieldsToo(t *testing.T) {
	t.Parallel()
	const (
		rule      = "MUST, RFC 9110 §7.6.1: what Connection names is removed, and §6.5.1: only what may stand there passes behind a body"
		named     = "Connection: ETag, Digest, close\r\n"
		announces = "Trailer: ETag , Content-Digest, X-Real-IP,X-Sum,,\r\n"
		bodyOf    = "5\r\nhello\r\n0\r\n"
		sent      = "ETag: named\r\nDIGEST: named\r\nContent-Digest: may\r\nX-Forwarded-Host: evil\r\nX-Real-IP: 127.0.0.1\r\nContent-Location: /evil\r\nX-Sum: 1\r\nHost: evil\r\n" +
			"X-Forwarded-Proto: https\r\nX-Http-Method-Override: DELETE\r\nConnection: Content-Digest\r\nForwarded: for=evil\r\nSet-Cookie: a=b\r\n\r\n"
	)
	got := make(chan string, 1)
	s := testutil.Serve(t, func(c *net.TCPConn, _ int) {
		text := head(t, c)
		if strings.HasPrefix(text, "POST") {
			c.SetReadDeadline(time.Now().Add(limit))
			in := bufio.NewReader(c)
			for line := ""; line != "\r\n"; { // the first is behind the trailers
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
	pooled, _ := fronted(t, s.Addr)
	shared, g := engined(t, s.Addr)

	for way, addr := range map[string]string{"the pool": pooled.addr, "an engine": shared.addr} {
		t.Run("an answer through "+way, func(t *testing.T) {
			a := tell(t, addr, rule, "passing.go, mayTrail", get("/", "TE: trailers\r\nConnection: TE, close\r\n"))
			soon(t, got, "the request")

			assert.Equal(t, "Content-Digest", a.reply(t).fields["trailer"], rule)
			assert.True(t, strings.HasSuffix(a.got, "\r\n\r\n"+bodyOf+"Content-Digest: may\r\n\r\n"), "%s; got %q", rule, a.got)
		})
	}
	assert.EqualValues(t, 1, g.EngineCounts.Pushed.Load())

	t.Run("a request", func(t *testing.T) {
		tell(t, pooled.addr, rule, "passing.go, mayTrail", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"+named+announces+"\r\n"+bodyOf+sent).begins(t, "HTTP/1.1 200 OK\r\n")

		text := soon(t, got, "the request")
		assert.Contains(t, text, "\r\nTrailer: Content-Digest\r\n", rule)
		assert.True(t, strings.HasSuffix(text, "\r\n\r\n"+bodyOf+"Content-Digest: may\r\n\r\n"), "%s; the backend got %q", rule, text)
	})
}
