package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/server"
)

// startEngineGateway starts a gateway with engines for the backend at addr.
// When the test ends it requires all engines to have retired.
func startEngineGateway(t testing.TB, addr string, change ...func(*gateway.Gateway)) (*testServer, *gateway.Gateway) {
	t.Helper()
	p := newSmallPool(t, 4)
	g := gateway.New(p, []gateway.Backend{{Path: "/", Addr: addr, Engine: true}})
	for _, f := range change {
		f(g)
	}
	r := startServer(t, withOffload(g))
	t.Cleanup(func() { awaitEnginesRetired(t, g) })
	return r, g
}

// withOffload is an option of startServer: the handler and the offloader of g.
func withOffload(g *gateway.Gateway) func(*server.Server) {
	return func(s *server.Server) { s.Handler, s.Offloader = g.Handler(routes()), g.OffloadOrReserve }
}

// awaitEnginesRetired waits until all engines have retired, and checks that
// their counts add up.
func awaitEnginesRetired(t testing.TB, g *gateway.Gateway) {
	t.Helper()
	c := &g.EngineCounts
	eventually(t, "all engines have retired", func() bool { return c.Engines.Load() == c.Retired.Load() })
	s := c.Snapshot()
	assert.Equal(t, c.Pushed.Load(), s.Done+s.Failed+s.Withdrawn,
		"an offloaded job never ended, or ended twice: a slot waits for ever. unanswered.go, resolveUnanswered")
	for _, b := range g.Pool.Stats().Backends {
		assert.Zero(t, b.Leased, "an engine has retired and kept its connection. engine.go, runLane")
	}
}

// startParallelBackend starts a backend that handles the requests of one
// connection concurrently: this part's server. /hold/N blocks until release is
// called; the body of every response is the request's path.
func startParallelBackend(t testing.TB) (r *testServer, held *atomic.Int64, release func()) {
	t.Helper()
	held = new(atomic.Int64)
	free := make(chan struct{})
	r = startServer(t, withHandler(func(w *server.Response, r *server.Request) {
		if strings.HasPrefix(string(r.Path), "/hold/") {
			held.Add(1)
			select {
			case <-free:
			case <-w.Done():
			}
		}
		w.Write(r.Path)
	}))
	release = sync.OnceFunc(func() { close(free) })
	t.Cleanup(release)
	return r, held, release
}

// proveConnection sends one request through the pool, which then has a backend
// connection that is known to persist.
func proveConnection(t testing.TB, addr string, g *gateway.Gateway) {
	t.Helper()
	sendAndRead(t, addr, "", "", post("/warm", "", closeField)).wantPrefix(t, "HTTP/1.1 200 OK\r\n")
	eventually(t, "the connection has returned to the pool", func() bool { return g.Pool.Stats().Backends[0].Idle == 1 })
}

const ruleEngine = "house rule: every offloaded request gets one response, in its slot"

// getPaths returns GET requests for n paths, the last with Connection: close,
// and the paths.
func getPaths(prefix string, n int) (text string, want []string) {
	for i := range n {
		want = append(want, fmt.Sprintf("%s%d", prefix, i))
		if i < n-1 {
			text += get(want[i])
		} else {
			text += get(want[i], closeField)
		}
	}
	return text, want
}

func TestEngineSharesOneConnectionWithoutHandlers(t *testing.T) { // not parallel: it counts goroutines
	const many = 16
	back, held, release := startParallelBackend(t)
	r, g := startEngineGateway(t, back.addr)
	proveConnection(t, r.addr, g)
	text := ""
	for i := range many {
		text += get(fmt.Sprintf("/hold/%d", i))
	}

	c := converse(t, r.addr, text)

	eventually(t, "the backend handles all of them concurrently", func() bool { return held.Load() == many })
	assert.Equal(t, 1, back.Connections(), "house rule: the requests of one client share a connection. registry.go, Push")
	eventually(t, "the warm-up client has disconnected", func() bool { return r.Connections() == 1 })
	eventually(t, "no handler of the gateway is running", func() bool {
		slots, running := r.InFlight()
		return running == 0 && slots == many
	})
	eventually(t, "an engine runs two goroutines, however many requests it has (engine.go, runWriter)", // goroutines of earlier tests may still be ending
		func() bool { return goroutinesIn("socketup/part4-pooling/engine.(*Engine)") == 2 })
	release()
	_, err := io.WriteString(c, get("/last", closeField))
	require.NoError(t, err)
	bodies := transcript{sent: text, rule: ruleEngine, look: "offload.go, complete"}.readAll(c).parseBodies(t, many+1)
	assert.Equal(t, "/hold/0", bodies[0])
	assert.Equal(t, "/last", bodies[many])
	assert.EqualValues(t, many+1, g.EngineCounts.Pushed.Load())
}

// goroutinesIn returns the number of goroutines whose stack has a function with
// this prefix.
func goroutinesIn(name string) (n int) {
	buf := make([]byte, 4<<20)
	buf = buf[:runtime.Stack(buf, true)]
	for _, stack := range strings.Split(string(buf), "\n\n") {
		stack, _, _ = strings.Cut(stack, "created by")
		if strings.Contains(stack, "\n"+name) {
			n++
		}
	}
	return n
}

// The requests of one client go through the engine, through the pool, and to
// the gateway's own routes.
func TestResponsesKeepOrderAcrossPoolAndEngine(t *testing.T) {
	t.Parallel()
	back, _, _ := startParallelBackend(t)
	other := testutil.ServeResponses(t, func(_ int, r *http.Request) string { return testutil.Response200(r.URL.Path) })
	p := newSmallPool(t, 4)
	g := gateway.New(p, []gateway.Backend{{Path: "/e", Addr: back.addr, Engine: true}, {Path: "/p", Addr: other.Addr}})
	r := startServer(t, withOffload(g))
	random := rand.New(rand.NewPCG(1, 2))
	var text strings.Builder
	var methods, want []string
	for i := range 300 {
		path, method := fmt.Sprintf("/%c/%d", "epx"[random.IntN(3)], i), "GET"
		switch random.IntN(6) {
		case 0:
			method = "POST"
			text.WriteString(post(path, "body"))
		case 1:
			method = "HEAD"
			text.WriteString("HEAD " + path + " HTTP/1.1\r\nHost: x\r\n\r\n")
		default:
			text.WriteString(get(path))
		}
		switch {
		case method == "HEAD":
			path = ""
		case path[1] == 'x':
			path = "404 Not Found: nothing is at " + path + "\n"
		}
		methods, want = append(methods, method), append(want, path)
	}
	text.WriteString(get("/e/last", closeField))

	s := sendAndRead(t, r.addr, "MUST, RFC 9112 §9.3.2: responses in the order of the requests", "offload.go, complete", text.String())

	for i, a := range s.parseAll(t, append(methods, "GET")...)[:300] {
		if !assert.Equal(t, want[i], a.body, "response %d of %s", i, s.rule) {
			return
		}
	}
	assert.Positive(t, g.EngineCounts.Pushed.Load())
	awaitEnginesRetired(t, g)
}

// A request that overtakes an earlier one may occupy the backend connection
// until its turn to respond, which does not come before the earlier one has its
// response, on that same connection.
func TestRequestsReachTheBackendInClientOrder(t *testing.T) {
	t.Parallel()
	const many = 24
	var mu sync.Mutex
	var got []string // guarded by mu
	s := testutil.ServeResponses(t, func(_ int, r *http.Request) string {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r.URL.Path)
		return testutil.Response200("ok")
	})
	r, _ := startEngineGateway(t, s.Addr)
	text, want := getPaths("/", many)
	for range 40 {
		got = nil

		sendAndRead(t, r.addr, ruleEngine, "offload.go, tryOffload", text).parseBodies(t, many)

		require.Equal(t, want, got, "house rule: a place in the pool's queue is reserved on arrival, as a slot is. offload.go, tryOffload")
	}
}

// While one request is being offloaded the next one waits: otherwise the
// quicker goroutine would be first in the queue.
func TestRequestsAreOffloadedOneAtATime(t *testing.T) {
	t.Parallel()
	second := make(chan string, 1)
	r := startServer(t, func(s *server.Server) {
		s.Offloader = func(_ *server.Response, r *server.Request) bool {
			if string(r.Path) == "/2" {
				second <- "the second request was offloaded while the first one was"
				return false
			}
			select {
			case early := <-second:
				t.Errorf("%s: a place in the pool's queue is reserved on arrival, as a slot is. offload.go, tryOffload", early)
			case <-time.After(300 * time.Millisecond): // can miss a fault, but not report a false one
			}
			return false
		}
	})

	sendAndRead(t, r.addr, ruleEngine, "offload.go, tryOffload", get("/1")+get("/2", closeField)).parseAll(t, getMethods(2)...)
}

// A connection that has not been shown to persist carries one request: another
// one after it could be lost or never be read.
func TestNewConnectionCarriesOneRequestUntilItPersists(t *testing.T) {
	t.Parallel()
	type arrival struct{ connection, requests int }
	arrivals, pushed := make(chan arrival, 100), make(chan struct{})
	s := testutil.ServeScript(t, func(c *net.TCPConn, number int) {
		in := make([]byte, 64<<10)
		for {
			n, err := c.Read(in)
			if err != nil {
				return
			}
			<-pushed
			c.SetReadDeadline(time.Now().Add(30 * time.Millisecond)) // catches a request that is sent too early
			more, _ := c.Read(in[n:])
			c.SetReadDeadline(time.Time{})
			requests := strings.Count(string(in[:n+more]), "\r\n\r\n")
			arrivals <- arrival{number, requests}
			io.WriteString(c, strings.Repeat(testutil.Response200("ok"), requests))
		}
	})
	r, g := startEngineGateway(t, s.Addr)

	c := converse(t, r.addr, strings.Repeat(get("/"), 8)) // none has Connection: close, which would not go through the engine
	c.CloseWrite()
	eventually(t, "all requests are in the engine", func() bool { return g.EngineCounts.Pushed.Load() == 8 })
	close(pushed)
	transcript{rule: ruleEngine, look: "http1lane.go, capacity"}.readAll(c).parseBodies(t, 8)

	require.Equal(t, arrival{1, 1}, receive(t, arrivals, "the first request"), "MUST NOT, RFC 9112 §9.3.2: do not pipeline before the connection has shown that it persists. http1lane.go, capacity")
	assert.Equal(t, arrival{1, 7}, receive(t, arrivals, "the others"), "then the rest is sent in one write. engine.go, takeBatch")
}

// Connection: close in a response says that the server processed no later
// request, so the requests sent after it are sent again, as often as necessary.
func TestBackendThatClosesConnectionsLosesNoRequest(t *testing.T) {
	t.Parallel()
	s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
		n := 0
		testutil.ReadRequests(bufio.NewReader(c), func(r *http.Request) bool {
			if n++; n < 4 {
				io.WriteString(c, testutil.Response200(r.URL.Path))
				return true
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: "+fmt.Sprint(len(r.URL.Path))+"\r\n\r\n"+r.URL.Path)
			c.CloseWrite()
			io.Copy(io.Discard, c)
			return false
		})
	})
	r, _ := startEngineGateway(t, s.Addr)
	text, want := getPaths("/", 100)

	got := sendAndRead(t, r.addr, "MUST NOT, RFC 9112 §9.6: the server does not process requests after its Connection: close", "http1lane.go, unprocessed", text).parseBodies(t, 100)

	assert.Equal(t, want, got)
}

func TestClientDisconnectWithdrawsItsJobs(t *testing.T) {
	t.Parallel()
	back, held, _ := startParallelBackend(t)
	r, g := startEngineGateway(t, back.addr)
	proveConnection(t, r.addr, g)
	c := converse(t, r.addr, strings.Repeat(get("/hold/x"), 24)) // some are in flight, some queued
	eventually(t, "the backend is handling the client's requests", func() bool { return held.Load() > 8 })
	began := time.Now()

	c.SetLinger(0)
	c.Close()

	awaitEnginesRetired(t, g)
	assert.Less(t, time.Since(began), 5*time.Second, "house rule: requests of a disconnected client are cancelled. conn.go, fail")
	assert.Positive(t, g.EngineCounts.Snapshot().Withdrawn)
	eventually(t, "the connection is closed", func() bool { return g.Pool.Stats().Permits == 0 })
}

// On a shared connection clients would wait for each other, and a backend that
// miscounts would give one client the other's response.
func TestClientsNeverShareAnEngine(t *testing.T) {
	t.Parallel()
	const many = 4
	back, held, release := startParallelBackend(t)
	r, g := startEngineGateway(t, back.addr)
	proveConnection(t, r.addr, g)
	var clients []*net.TCPConn
	for i := range many {
		clients = append(clients, converse(t, r.addr, get(fmt.Sprintf("/hold/%d", i))))
	}

	eventually(t, "the backend handles all of them concurrently", func() bool { return held.Load() == many })
	assert.Equal(t, many, back.Connections(), "house rule: an engine belongs to one client. registry.go, Push")
	release()

	for i, client := range clients {
		client.CloseWrite()
		body := transcript{rule: ruleEngine, look: "engine.go, finishJob"}.readAll(client).parseBodies(t, 1)
		assert.Equal(t, []string{fmt.Sprintf("/hold/%d", i)}, body, "each client gets its own response")
	}
}

// A long response is not read to its end after its client has disconnected.
func TestLongResponseIsNotReadForADisconnectedClient(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
		testutil.ReadRequests(bufio.NewReader(c), func(*http.Request) bool {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
			for sent.Load() < 1e9 {
				n, err := io.WriteString(c, strings.Repeat("x", 10_000))
				if sent.Add(int64(n)); err != nil {
					return false
				}
				time.Sleep(time.Millisecond) // the input: a slow response
			}
			return true
		})
	})
	r, g := startEngineGateway(t, s.Addr)
	listener := converse(t, r.addr, get("/events"))
	requireRead(t, listener, transcript{rule: ruleEngine, look: "engine.go, onIdle"}, "HTTP/1.1 200 OK\r\n")

	listener.SetLinger(0)
	listener.Close()

	awaitEnginesRetired(t, g)
	assert.Less(t, sent.Load(), int64(100e6), "the rest was read although the client had disconnected. engine.go, deliver")
}

// A truncated response ends immediately, not at the next clock tick.
func TestTruncatedResponseEndsAtOnce(t *testing.T) {
	t.Parallel()
	s := startAnsweringOnce(t, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
	r, _ := startEngineGateway(t, s)
	var took []time.Duration
	for range 9 {
		c := converse(t, r.addr, get("/"))
		requireRead(t, c, transcript{rule: ruleEngine, look: "engine.go, onIdle"}, "HTTP/1.1 200 OK\r\n")
		began := time.Now()
		io.Copy(io.Discard, c)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	const longestTick = 250 * time.Millisecond // server/clock.go, maxTick
	assert.Less(t, took[4], longestTick/4, "the end waited for the clock. offload.go, complete")
}

// Two engines compete for the only connection: each returns it after a batch.
func TestEnginesTakeTurnsWithOnePermit(t *testing.T) {
	t.Parallel()
	back, _, _ := startParallelBackend(t)
	r, g := startEngineGateway(t, back.addr, func(g *gateway.Gateway) { g.Pool.Limits.PerBackend = 1 })
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			text, want := getPaths("/", 200)
			assert.Equal(t, want, sendAndRead(t, r.addr, "house rule: an engine returns its connection to the pool when another caller waits for it", "evictor.go, ShouldReturn", text).parseBodies(t, 200))
		})
	}
	waitGroup(t, &clients, "all goroutines of the test end")

	assert.EqualValues(t, 1, g.Pool.Stats().Backend(back.addr).Dialled)
}

func TestUnreachableBackendFailsAllQueuedJobs(t *testing.T) {
	t.Parallel()
	r, _ := startEngineGateway(t, testutil.FreeAddr(t))
	text, _ := getPaths("/", 5)

	for _, a := range sendAndRead(t, r.addr, ruleEngine, "unanswered.go, failQueued", text).parseAll(t, getMethods(5)...) {
		assert.Equal(t, "502 Bad Gateway", a.status)
	}
}

// A backend that accepts and closes must not be retried for ever.
func TestBackendThatHangsUpIsTriedTwice(t *testing.T) {
	t.Parallel()
	s := testutil.ServeScript(t, func(*net.TCPConn, int) {})
	r, _ := startEngineGateway(t, s.Addr)

	a := sendAndRead(t, r.addr, ruleEngine, "unanswered.go, resolveUnanswered", get("/")+get("/", closeField)).parseAll(t, getMethods(2)...)

	assert.Equal(t, "502 Bad Gateway", a[0].status)
	assert.LessOrEqual(t, s.Accepted(), 4, "house rule: each request is tried at most twice, whether it was sent or not. unanswered.go, resolveUnanswered")
}

func TestDiscardedConnectionFreesAPermitForAWaiter(t *testing.T) {
	t.Parallel()
	die := make(chan struct{})
	got := make(chan struct{}, 1)
	s := testutil.ServeScript(t, func(c *net.TCPConn, number int) {
		if number > 1 {
			testutil.ReadRequests(bufio.NewReader(c), func(r *http.Request) bool { io.WriteString(c, testutil.Response200("ok")); return true })
			return
		}
		c.Read(make([]byte, 4<<10))
		got <- struct{}{}
		<-die
	})
	r, g := startEngineGateway(t, s.Addr, func(g *gateway.Gateway) { g.Pool.Limits.PerBackend = 1 })
	first := converse(t, r.addr, get("/"))
	receive(t, got, "the first request reaches the backend")
	second := converse(t, r.addr, post("/", "x", closeField))
	eventually(t, "the second client waits for a connection", func() bool { return g.Pool.Stats().Backend(s.Addr).Waiting == 1 })

	close(die)

	assert.Equal(t, []string{"ok"}, transcript{rule: ruleEngine, look: "engine.go, runLane"}.readAll(second).parseBodies(t, 1))
	requireRead(t, first, transcript{rule: ruleEngine, look: "unanswered.go, resolveUnanswered"}, "HTTP/1.1 200 OK\r\n")
}

// The first request gets its response as soon as it is complete; the engine
// continues with the others.
func TestFirstRequestDoesNotWaitForItsEngine(t *testing.T) {
	t.Parallel()
	back, held, release := startParallelBackend(t)
	r, g := startEngineGateway(t, back.addr)
	c := converse(t, r.addr, get("/first"))
	s := transcript{rule: "house rule: an engine outlives its first request", look: "registry.go, register"}
	requireRead(t, c, s, "HTTP/1.1 200 OK\r\n")
	in := bufio.NewReader(c)
	io.WriteString(c, get("/second")+get("/hold/3"))
	eventually(t, "the engine is running", func() bool { return held.Load() == 1 })

	for seen := ""; !strings.HasSuffix(seen, "/second"); { // the response must arrive before the next one
		b, err := in.ReadByte()
		require.NoError(t, err, "%s; received so far: %q", s.rule, seen)
		seen += string(b)
	}

	release()
	assert.LessOrEqual(t, g.EngineCounts.Engines.Load(), uint64(2))
}

// An idle engine uses no CPU: its writer sleeps until there is something to
// write.
func TestIdleEngineDoesNotSpin(t *testing.T) {
	t.Parallel()
	r0 := startServer(t)
	r, g := startEngineGateway(t, r0.addr, func(g *gateway.Gateway) { g.Engines.IdleTime = 100 * time.Millisecond })

	sendAndRead(t, r.addr, "", "", get("/sleep/150ms")+get("/sleep/1ms", closeField))
	awaitEnginesRetired(t, g)

	assert.Less(t, g.EngineCounts.Iterations.Load(), uint64(20), "the writer spins. engine.go, writeLoop")
}

func TestEngineStreamsResponses(t *testing.T) {
	t.Parallel()
	back := startServer(t)
	r, _ := startEngineGateway(t, back.addr)

	s := sendAndRead(t, r.addr, ruleEngine, "engine.go, onIdle", get("/stream/3")+get("/stream/2")+post("/echo", "end", closeField))

	assert.Equal(t, []string{"line 1\nline 2\nline 3\n", "line 1\nline 2\n", "end"}, s.parseBodies(t, 3))
}

func TestEngineForwardsInterimResponsesAndTrailers(t *testing.T) {
	t.Parallel()
	s := testutil.ServeResponses(t, func(int, *http.Request) string {
		return "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" +
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Digest\r\n\r\n2\r\nok\r\n0\r\nDigest: 42\r\n\r\n"
	})
	r, g := startEngineGateway(t, s.Addr)

	got := sendAndRead(t, r.addr, ruleEngine, "offload.go, Head and End", get("/", "Connection: TE, close\r\nTE: trailers\r\n")).got

	require.EqualValues(t, 1, g.EngineCounts.Pushed.Load())
	assert.True(t, strings.HasPrefix(got, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n"), "MUST, RFC 9110 §15.2: interim responses are forwarded. Got %q", got)
	assert.True(t, strings.HasSuffix(got, "2\r\nok\r\n0\r\nDigest: 42\r\n\r\n"), "a client with TE: trailers gets trailers. Got %q", got)
}

// What a client does not read stays at the backend, by flow control.
// mod_proxy_http2 buffered it in memory, and lost its engines for that reason.
func TestSlowClientBackpressuresTheBackend(t *testing.T) { // not parallel: it measures memory
	const answers, size = 8, 64 << 20
	var sent atomic.Int64
	s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
		c.SetWriteBuffer(64 << 10)
		piece := make([]byte, 64<<10)
		testutil.ReadRequests(bufio.NewReader(c), func(*http.Request) bool {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
			for n := 0; n < size; n += len(piece) {
				if _, err := c.Write(piece); err != nil || sent.Add(int64(len(piece))) > 96<<20 {
					return false
				}
			}
			return true
		})
	})
	r, g := startEngineGateway(t, s.Addr)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)

	c := converse(t, r.addr, strings.Repeat(get("/"), answers))
	awaitStandstill(&sent)

	runtime.GC()
	runtime.ReadMemStats(&after)
	l := r.Limits
	bound := int64(l.PerConnection()) - l.Body + g.Engines.MemoryBound(l.Head)
	assert.Positive(t, sent.Load())
	assert.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), bound,
		"%d bytes left the backend, the client has read none, and the gateway holds more than its bound. offload.go, Data", sent.Load())
	c.SetLinger(0)
	c.Close()
}

func TestEngineStatsAreReported(t *testing.T) {
	t.Parallel()
	back, _, _ := startParallelBackend(t)
	r, g := startEngineGateway(t, back.addr)
	g.AdminNames = []string{"socket.up"}
	admin := startServer(t, withHandler(g.ProtectAdmin(adminRoutes(g))))
	text, _ := getPaths("/", 5)
	sendAndRead(t, r.addr, "", "", text).parseBodies(t, 5)

	assert.Contains(t, sendAndRead(t, admin.addr, "", "", get("/-/stats", closeField)).wantFramed(t).body, `"pushed": 5`)
	assert.Contains(t, sendAndRead(t, admin.addr, "", "", get("/-/metrics", closeField)).wantFramed(t).body, "socketup_engine_jobs_total{outcome=\"done\"} 5\n")
}

// A stopping gateway responds to the requests an engine has in flight.
func TestStopAnswersRequestsInAnEngine(t *testing.T) {
	t.Parallel()
	back, held, release := startParallelBackend(t)
	cmd, addr, logged := startServing(t, "-engine", "http://"+back.addr)
	c := converse(t, addr, get("/1")+get("/hold/2")+get("/hold/3"))
	eventually(t, "the backend is handling the request", func() bool { return held.Load() == 2 })

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	awaitLog(t, logged, "stopping")
	release()

	s := transcript{rule: "house rule: a stopping server responds to every request it has read", look: "main.go, serve"}.readAll(c)
	assert.Equal(t, []string{"/1", "/hold/2", "/hold/3"}, s.parseBodies(t, 3))
	assert.NoError(t, waitExit(t, cmd), "exit status")
}

func TestBadEngineOptionsAreRefused(t *testing.T) {
	t.Parallel()
	for args, says := range map[string]string{
		"-engine-depth 0":              "-engine-depth: want at least 1",
		"-abort-on-close -wait serial": "-abort-on-close needs -wait loop",
		"-engine http://127.0.0.1:0/":  "bad address",
	} {
		var stdout, stderr bytes.Buffer

		status := run(strings.Fields(args), &stdout, &stderr)

		assert.Equal(t, 2, status)
		assert.Contains(t, stderr.String(), says)
	}
}

func TestEngineDemoShowsItsFigures(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	var out strings.Builder
	require.NoError(t, shareConnection(&out, io.Discard))

	assert.Contains(t, out.String(), "8 slots wait for responses, 0 handlers run")
	assert.Contains(t, out.String(), "handles 8 requests, on 1 connection")
	assert.Contains(t, out.String(), "the responses to /1 /2 /3 /4 /5 /6 /7 /8\n")
}

// awaitStandstill returns when count has not changed for half a second, so that a slow
// machine's pause does not pass for the end.
func awaitStandstill(count *atomic.Int64) {
	for was, since := count.Load(), time.Now(); time.Since(since) < 500*time.Millisecond; time.Sleep(10 * time.Millisecond) {
		if now := count.Load(); now != was {
			was, since = now, time.Now()
		}
	}
}
