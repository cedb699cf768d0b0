package main

import (
	"bufio"
	"context"
	"crypto/sha256"
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
	"socketup/part4-pooling/http2"
	"socketup/part4-pooling/internal/testutil"
)

// startStreamGateway starts a gateway whose backend at addr speaks HTTP/2. When the test
// ends it requires that all lanes have ended, and each job once.
func startStreamGateway(t testing.TB, addr string, change ...func(*gateway.Gateway)) (*testServer, *gateway.Gateway) {
	t.Helper()
	g := gateway.New(newSmallPool(t, 4), []gateway.Backend{{Path: "/", Addr: addr, Engine: true, HTTP2: true}})
	for _, f := range change {
		f(g)
	}
	t.Cleanup(func() { // after the server has stopped
		g.Streams.Close()
		awaitStreamsEnded(t, g)
	})
	return startServer(t, withOffload(g)), g
}

// awaitStreamsEnded waits until all jobs have ended, some of which a pump ends after its lane
// has, and all lanes.
func awaitStreamsEnded(t testing.TB, g *gateway.Gateway) {
	t.Helper()
	eventually(t, "all jobs have ended (http2tick.go, end)", func() bool {
		s := g.EngineCounts.Snapshot()
		return s.Pushed == s.Done+s.Failed+s.Withdrawn
	})
	awaitEnginesRetired(t, g)
}

// An honestBackend is net/http's server, which speaks HTTP/2 without TLS. Its restart closes
// no listener: the successor accepts from the same one.
type honestBackend struct {
	addr     string
	accepted atomic.Int64
	handler  http.Handler
	listener net.Listener
	mu       sync.Mutex
	running  *http.Server
	conns    chan net.Conn // of the running server
	serving  sync.WaitGroup
}

func startHonest(t testing.TB, handler http.HandlerFunc) *honestBackend {
	t.Helper()
	skipIfJudging(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	b := &honestBackend{addr: l.Addr().String(), handler: handler, listener: l}
	b.start()
	b.serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b.accepted.Add(1)
			b.mu.Lock()
			b.conns <- c
			b.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		l.Close()
		b.mu.Lock()
		b.running.Close()
		b.mu.Unlock()
		waitGroup(t, &b.serving, "the backend ends")
	})
	return b
}

// start makes a new server accept connections, and returns the old one.
func (b *honestBackend) start() (old *http.Server) {
	var speaks http.Protocols
	speaks.SetUnencryptedHTTP2(true)
	s := &http.Server{Handler: b.handler, Protocols: &speaks}
	conns := make(chan net.Conn, 100)
	b.mu.Lock()
	old, b.running, b.conns = b.running, s, conns
	b.mu.Unlock()
	b.serving.Go(func() { s.Serve(&chanListener{b.listener.Addr(), conns, make(chan struct{}), sync.Once{}}) })
	return old
}

// restart replaces the server as a supervisor does: first the new one accepts, then the old
// one completes what it has.
func (b *honestBackend) restart(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), maxWait)
	defer cancel()
	assert.NoError(t, b.start().Shutdown(ctx))
}

// A chanListener accepts what another goroutine has accepted.
type chanListener struct {
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *chanListener) Addr() net.Addr { return l.addr }
func (l *chanListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *chanListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

const ruleAllPasses = "house rule: a stream carries all that a connection of HTTP/1.1 does"

// All that HTTP/1.1 can say passes through streams, in both directions.
func TestStreamsCarryWhatHTTPSays(t *testing.T) {
	t.Parallel()
	const large = 3 << 20
	back := startHonest(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/large":
			w.Write(make([]byte, large))
		case "/sum":
			h := sha256.New()
			n, err := io.Copy(h, r.Body)
			fmt.Fprintf(w, "%d %x %v %s", n, h.Sum(nil)[:4], err, r.Trailer.Get("Content-Digest"))
		case "/early":
			w.Header().Set("Link", "</style.css>")
			w.WriteHeader(103)
			fmt.Fprint(w, "at last")
		case "/trailers":
			w.Header().Set("Trailer", "Content-Digest")
			fmt.Fprint(w, "body")
			w.Header().Set("Content-Digest", "42")
		case "/refuse":
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		case "/empty":
			w.WriteHeader(204)
		case "/same":
			w.WriteHeader(304)
		default:
			fmt.Fprintf(w, "%s %s %s %q", r.Method, r.URL, r.Host, r.Header.Get("X-Mine"))
		}
	})
	r, _ := startStreamGateway(t, back.addr)
	ask := func(request string) transcript {
		return sendAndRead(t, r.addr, ruleAllPasses, "streams.go, forwardStream", request)
	}
	sum := sha256.Sum256(make([]byte, large))
	want := fmt.Sprintf("%d %x <nil> ", large, sum[:4])

	ask(get("/a?b=c", "X-Mine: 1\r\n", closeField)).wantAnswer(t, "200", `GET /a?b=c socket.up "1"`)
	ask(post("/p", "body", closeField)).wantAnswer(t, "200", `POST /p socket.up ""`)
	head := ask("HEAD /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	head.wantPrefix(t, "HTTP/1.1 200 ")
	assert.True(t, strings.HasSuffix(head.got, "\r\n\r\n"), "HEAD has no body")
	ask(get("/large", closeField)).wantAnswer(t, "200", string(make([]byte, large)))
	ask(post("/sum", string(make([]byte, large)), closeField)).wantAnswer(t, "200", want)
	ask("POST /sum HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: Content-Digest\r\n\r\n3\r\nabc\r\n0\r\nContent-Digest: 42\r\n\r\n").
		wantAnswer(t, "200", "3 ba7816bf <nil> 42")
	early := ask(get("/early", closeField))
	early.wantPrefix(t, "HTTP/1.1 103 ")
	assert.Contains(t, early.got, "link: </style.css>\r\n")
	assert.Contains(t, early.got, "at last")
	assert.Contains(t, ask("GET /trailers HTTP/1.1\r\nHost: x\r\nConnection: close, TE\r\nTE: trailers\r\n\r\n").got, "\r\n0\r\ncontent-digest: 42\r\n\r\n")
	refused := ask(post("/refuse", string(make([]byte, large)), closeField))
	refused.wantPrefix(t, "HTTP/1.1 413 ")
	assert.Contains(t, refused.got, "too large")
	ask(get("/empty", closeField)).wantPrefix(t, "HTTP/1.1 204 ")
	ask(get("/same", closeField)).wantPrefix(t, "HTTP/1.1 304 ")
	assert.EqualValues(t, 1, back.accepted.Load(), "connections to the backend")
}

// Many clients with many requests each share one connection, in the order of each client.
func TestClientsShareOneConnectionToTheBackend(t *testing.T) {
	t.Parallel()
	const clients, each = 10, 20
	var running, most atomic.Int64
	all := make(chan struct{})
	back := startHonest(t, func(w http.ResponseWriter, r *http.Request) {
		if n := running.Add(1); n == clients*each {
			close(all)
		}
		select {
		case <-all:
		case <-time.After(maxWait):
			t.Error("the backend does not get all requests at a time")
		}
		most.Store(max(most.Load(), running.Load()))
		fmt.Fprint(w, r.URL.Path)
	})
	r, _ := startStreamGateway(t, back.addr)
	var asking sync.WaitGroup
	for i := range clients {
		asking.Go(func() {
			text, want := getPaths(fmt.Sprintf("/%d/", i), each)
			c := dial(t, r.addr)
			io.WriteString(c, text)
			assert.Equal(t, want, transcript{sent: text, rule: ruleAllPasses, look: "multiplexer.go, dispatch"}.readAll(c).parseBodies(t, each))
		})
	}
	waitGroup(t, &asking, "all responses")

	assert.EqualValues(t, clients*each, most.Load())
	assert.EqualValues(t, 1, back.accepted.Load(), "connections to the backend")
}

// A backend that restarts completes what it has, says which requests it has not looked at,
// and gets the next ones after it. No request is lost, and no POST is sent twice.
func TestRestartOfTheBackendLosesNothing(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	posts := map[string]int{} // guarded by mu
	back := startHonest(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method == "POST" {
			mu.Lock()
			posts[r.URL.Path]++
			mu.Unlock()
		}
		fmt.Fprint(w, r.URL.Path+string(body))
	})
	r, _ := startStreamGateway(t, back.addr)
	var asking sync.WaitGroup
	var stop atomic.Bool
	var answered atomic.Int64
	for i := range 8 {
		asking.Go(func() {
			c := dial(t, r.addr)
			in := bufio.NewReader(c)
			for n := 0; !stop.Load(); n++ {
				path := fmt.Sprintf("/%d/%d", i, n)
				request, want := get(path), path
				if n%2 == 1 {
					request, want = post(path, " and its body"), path+" and its body"
				}
				io.WriteString(c, request)
				a, err := http.ReadResponse(in, nil)
				if !assert.NoError(t, err, "a restart loses no request") {
					return
				}
				body, err := io.ReadAll(a.Body)
				if !assert.NoError(t, err) || !assert.Equal(t, "200 "+want, fmt.Sprint(a.StatusCode, " ", string(body))) {
					return
				}
				answered.Add(1)
			}
		})
	}
	for n := range 5 {
		eventually(t, "requests are answered", func() bool { return answered.Load() > int64(100*n) || t.Failed() })
		back.restart(t)
	}
	stop.Store(true)
	waitGroup(t, &asking, "all responses")

	assert.GreaterOrEqual(t, back.accepted.Load(), int64(5), "connections to the backend")
	for path, n := range posts {
		assert.Equal(t, 1, n, "the backend has processed POST %s", path)
	}
	t.Logf("%d requests, %d connections", answered.Load(), back.accepted.Load())
}

// When a client leaves, its requests at the backend are cancelled, and the connection is
// there for others.
func TestLeavingClientCancelsItsStreams(t *testing.T) {
	t.Parallel()
	const many = 20
	arrived, cancelled := make(chan struct{}, many), make(chan struct{}, many)
	back := startHonest(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stays" {
			fmt.Fprint(w, "ok")
			return
		}
		arrived <- struct{}{}
		<-r.Context().Done()
		cancelled <- struct{}{}
	})
	r, g := startStreamGateway(t, back.addr)
	text, _ := getPaths("/leaves/", many-1)
	c := converse(t, r.addr, text)
	uploads := converse(t, r.addr, "POST /leaves HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
	for range many {
		receive(t, arrived, "a request at the backend")
	}
	began := time.Now()

	for _, one := range []*net.TCPConn{c, uploads} {
		one.SetLinger(0)
		one.Close()
	}
	for range many {
		receive(t, cancelled, "the end of a request at the backend")
	}

	assert.Less(t, time.Since(began), time.Second, "house rule: requests of a disconnected client are cancelled. http2tick.go, lateStreams")
	sendAndRead(t, r.addr, ruleAllPasses, "http2tick.go", get("/stays", closeField)).wantAnswer(t, "200", "ok")
	assert.EqualValues(t, 1, back.accepted.Load(), "the connection is kept")
	eventually(t, "all are counted", func() bool { return g.EngineCounts.Cancelled.Load() == many })
}

// A body that ends too early at the gateway must not end as if it was whole at the backend.
func TestCutUploadIsNotTakenForWhole(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	back := startHonest(t, func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		ended <- err
	})
	r, _ := startStreamGateway(t, back.addr)
	c := converse(t, r.addr, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")

	c.CloseWrite()

	assert.Error(t, receive(t, ended, "the end of the body at the backend"), "http2upload.go, failUpload")
}

func TestStreamsPassOn100Continue(t *testing.T) {
	t.Parallel()
	read := make(chan bool)
	back := startHonest(t, func(w http.ResponseWriter, r *http.Request) {
		<-read // until then the gateway must not ask for the body
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s", body)
	})
	r, _ := startStreamGateway(t, back.addr, func(g *gateway.Gateway) { g.Timeouts.ContinueWait = maxWait })
	c := converse(t, r.addr, "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	s := transcript{rule: "MUST, RFC 9110 §10.1.1", look: "http2upload.go, awaitContinue"}

	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)) // can miss a fault, but not report a false one
	n, _ := c.Read(make([]byte, 1))
	assert.Zero(t, n, "the gateway answers before the backend has")
	c.SetReadDeadline(time.Now().Add(maxWait))
	close(read)
	requireRead(t, c, s, "HTTP/1.1 100 Continue\r\n\r\n")
	io.WriteString(c, "body")

	s.readAll(c).wantAnswer(t, "200", "body")
}

// A queue that is full is 503 at once, with Retry-After.
func TestFullStreamQueueIs503(t *testing.T) {
	t.Parallel()
	free, arrived := make(chan struct{}), make(chan struct{}, 1)
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		c.Settings(http2MaxStreams(1))
		q, ok := c.AwaitRequest()
		if !ok {
			return
		}
		arrived <- struct{}{}
		<-free
		c.Respond(q.StreamID, "held")
		c.RespondToAll()
	})
	r, g := startStreamGateway(t, s.Addr, func(g *gateway.Gateway) { g.Pool.Limits.PerBackend, g.Streams.Limits.Queue = 1, 2 })
	held := converse(t, r.addr, get("/held", closeField))
	receive(t, arrived, "a request at the backend")
	waits := converse(t, r.addr, get("/1")+get("/2", closeField))
	eventually(t, "two requests wait", func() bool { return g.EngineCounts.Pushed.Load() == 3 })

	full := sendAndRead(t, r.addr, ruleAllPasses, "fairqueue.go, push", get("/3", closeField))
	full.wantPrefix(t, "HTTP/1.1 503 ")
	full.wantField(t, "Retry-After", "1")
	sendAndRead(t, r.addr, ruleAllPasses, "fairqueue.go, push", post("/4", "body", closeField)).wantPrefix(t, "HTTP/1.1 503 ")
	close(free)
	transcript{rule: ruleAllPasses}.readAll(held).wantAnswer(t, "200", "held")
	assert.Equal(t, []string{"/1", "/2"}, transcript{rule: ruleAllPasses}.readAll(waits).parseBodies(t, 2))
}

// A gateway that stops completes what it has.
func TestStoppingGatewayCompletesItsStreams(t *testing.T) {
	t.Parallel()
	const many = 10
	free, arrived := make(chan struct{}), make(chan struct{}, many+1)
	back := startHonest(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-free
		body, _ := io.ReadAll(r.Body)
		fmt.Fprint(w, r.URL.Path+string(body))
	})
	r, _ := startStreamGateway(t, back.addr)
	text, want := getPaths("/", many)
	c, upload := converse(t, r.addr, text), converse(t, r.addr, post("/", "body", closeField))
	for range many + 1 {
		receive(t, arrived, "a request at the backend")
	}

	r.Stop()
	close(free)

	assert.Equal(t, want, transcript{sent: text, rule: ruleAllPasses}.readAll(c).parseBodies(t, many))
	transcript{rule: ruleAllPasses}.readAll(upload).wantAnswer(t, "200", "/body")
}

// A client that reads nothing stops its own responses, at the backend too: what the gateway
// holds for it is bounded by the windows. Others go on.
func TestClientThatReadsNothingStopsOnlyItself(t *testing.T) {
	t.Parallel()
	const many, size = 8, 64 << 20
	var sent atomic.Int64
	back := startHonest(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/small" {
			fmt.Fprint(w, "ok")
			return
		}
		piece := make([]byte, 16<<10)
		for range size / len(piece) {
			n, err := w.Write(piece)
			if sent.Add(int64(n)); err != nil {
				return
			}
			w.(http.Flusher).Flush()
		}
	})
	r, g := startStreamGateway(t, back.addr)
	var text string
	for range many {
		text += get("/large")
	}
	c := dial(t, r.addr)
	c.SetReadBuffer(4 << 10)
	io.WriteString(c, text)
	eventually(t, "responses have begun", func() bool { return sent.Load() > many*int64(g.Streams.Limits.Window)/2 })

	for range 100 {
		sendAndRead(t, r.addr, ruleAllPasses, "pump.go", get("/small", closeField)).wantAnswer(t, "200", "ok")
	}
	before := int64(-1)
	eventually(t, "the backend waits for window", func() bool {
		now := sent.Load()
		still := now == before
		before = now
		time.Sleep(20 * time.Millisecond) // between two looks
		return still
	})

	const buffered = 32 << 10                                      // of each response, in the server
	most := int64(many*(g.Streams.Limits.Window+buffered)) + 1<<20 // and what the kernel holds
	assert.Less(t, before, most, "bytes that the backend could send, of %d", many*size)
	assert.EqualValues(t, 1, back.accepted.Load())
	t.Logf("%d kB of %d MB were sent", before>>10, many*size>>20)
}

// http2MaxStreams is the setting that allows n streams at a time.
func http2MaxStreams(n uint32) http2.Setting {
	return http2.Setting{ID: http2.SettingMaxConcurrentStreams, Value: n}
}

// A response to HEAD without a length has its head sent at once. If it is not its turn, only
// that response may wait: its reader has those of all clients to pass on.
func TestHeadOfAResponseWaitsForItsTurnAlone(t *testing.T) {
	t.Parallel()
	free, arrived := make(chan struct{}), make(chan struct{}, 3)
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		c.Settings()
		slow := uint32(0)
		for {
			q, ok := c.NextRequest()
			switch {
			case !ok:
				return
			case q.Target == "/slow":
				slow = q.ID
			case q.Method == "HEAD":
				c.Head(q.ID, true, "200")
			default:
				c.Respond(q.ID, q.Target)
			}
			if arrived <- struct{}{}; q.Target == "/other" {
				go func() { <-free; c.Respond(slow, "slow") }() // ends with the test
			}
		}
	})
	r, _ := startStreamGateway(t, s.Addr)
	c := converse(t, r.addr, get("/slow")+"HEAD /head HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	receive(t, arrived, "GET")
	receive(t, arrived, "HEAD")

	sendAndRead(t, r.addr, ruleAllPasses, "http2pass.go, passHead", get("/other", closeField)).wantAnswer(t, "200", "/other")
	close(free)
	all := transcript{rule: ruleAllPasses}.readAll(c).parseAll(t, "GET", "HEAD")
	assert.Equal(t, "slow", all[0].body)
}

// Complete responses that a client does not read wait in its own queue: whoever completes
// them has others to serve.
func TestCompleteResponsesOfAClientThatReadsNothingStopNobody(t *testing.T) {
	t.Parallel()
	const each, clients = 32, 10
	var answered atomic.Int64
	piece := strings.Repeat("x", 30<<10)
	back := startHonest(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/small" {
			fmt.Fprint(w, "ok")
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(piece)))
		io.WriteString(w, piece)
		answered.Add(1)
	})
	r, g := startStreamGateway(t, back.addr)
	for range clients {
		c := dial(t, r.addr)
		c.SetReadBuffer(4 << 10)
		text, _ := getPaths("/large/", each)
		io.WriteString(c, text)
	}
	eventually(t, "the backend has answered", func() bool { return answered.Load() > each*clients/2 })

	for range 100 {
		sendAndRead(t, r.addr, ruleAllPasses, "http2pass.go, settle", get("/small", closeField)).wantAnswer(t, "200", "ok")
	}
	t.Logf("%d answered, %d done", answered.Load(), g.EngineCounts.Snapshot().Done)
}

// A response that waits for its turn gives its stream back when another client's request
// needs one, and is asked for again.
func TestResponseThatWaitsForItsTurnGivesItsStreamBack(t *testing.T) {
	t.Parallel()
	free, arrived := make(chan struct{}), make(chan string, 10)
	slow := testutil.ServeResponses(t, func(int, *http.Request) string { <-free; return testutil.Response200("slow") })
	large := strings.Repeat("x", 50<<10)
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		c.Settings(http2MaxStreams(1))
		for {
			q, ok := c.NextRequest()
			if !ok {
				return
			}
			c.Head(q.ID, false, "200")
			body := q.Target
			if q.Target == "/s/large" {
				body = large
			}
			for ; len(body) > http2.DefaultMaxFrame; body = body[http2.DefaultMaxFrame:] {
				c.Data(q.ID, false, body[:http2.DefaultMaxFrame])
			}
			c.Data(q.ID, false, body)
			if arrived <- q.Target; q.ID == 1 { // the first one is never complete
				c.Await(http2.FrameRSTStream)
			} else {
				c.Data(q.ID, true, "")
			}
		}
	})
	p := newSmallPool(t, 2)
	p.Limits.PerBackend, p.Limits.Spare = 1, 50*time.Millisecond
	g := gateway.New(p, []gateway.Backend{{Path: "/slow", Addr: slow.Addr}, {Path: "/s", Addr: s.Addr, Engine: true, HTTP2: true}})
	t.Cleanup(func() {
		g.Streams.Close()
		awaitStreamsEnded(t, g)
	})
	r := startServer(t, withOffload(g))
	c := converse(t, r.addr, get("/slow")+get("/s/large", closeField))
	require.Equal(t, "/s/large", receive(t, arrived, "the request whose response will wait"))

	sendAndRead(t, r.addr, ruleAllPasses, "giveback.go, shouldGiveBack", get("/s/small", closeField)).wantAnswer(t, "200", "/s/small")
	close(free)
	assert.Equal(t, []string{"slow", large}, transcript{rule: ruleAllPasses}.readAll(c).parseBodies(t, 2))
	assert.EqualValues(t, 1, g.EngineCounts.Cancelled.Load())
	assert.Equal(t, 1, s.Accepted())
}
