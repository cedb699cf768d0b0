package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/server"
)

const (
	ruleOrder = "MUST, RFC 9112 §9.3.2: responses are sent in the order of the requests"
	lookOrder = "slot.go, slotQueue; takerequest.go, reserve"
)

// Latches let a test decide when the handler of a path may return. The body of
// each response is its request's path.
type latches struct {
	began, ended chan string // paths of the handlers that began and ended
	mu           sync.Mutex
	open         map[string]chan struct{} // guarded by mu
}

func newLatches() *latches {
	return &latches{began: make(chan string, 1000), ended: make(chan string, 1000), open: map[string]chan struct{}{}}
}

func (l *latches) of(path string) chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[path] == nil {
		l.open[path] = make(chan struct{})
	}
	return l.open[path]
}

func (l *latches) release(paths ...string) {
	for _, p := range paths {
		close(l.of(p))
	}
}

func (l *latches) handle(w *server.Response, r *server.Request) {
	path := string(r.Path)
	l.began <- path
	<-l.of(path)
	io.WriteString(w, path)
	l.ended <- path
}

// The first experiment of MESOS-3705. Requests 1 and 2 are for one worker,
// which handles them one after the other; 3 is for another worker. When 3 is
// finished 2 has not even started. A server whose handlers reserve the slots
// responds 1, 3, 2.
func TestHandlerThatStartsLateKeepsItsSlot(t *testing.T) {
	l := newLatches()
	worker := make(chan struct{}, 1) // holds a token while the worker is busy
	r := startServer(t, withHandler(func(w *server.Response, r *server.Request) {
		if string(r.Path) != "/3" {
			worker <- struct{}{}
			defer func() { <-worker }()
		}
		l.handle(w, r)
	}))
	l.release("/2", "/3")
	sent := get("/1") + get("/2") + get("/3", closeField)
	c := dial(t, r.addr)
	io.WriteString(c, get("/1"))
	require.Equal(t, "/1", receive(t, l.began, "1 begins"))
	io.WriteString(c, get("/2")+get("/3", closeField))
	require.Equal(t, "/3", receive(t, l.began, "3 begins, before 2"))
	require.Equal(t, "/3", receive(t, l.ended, "3 ends, before 2 has begun"))

	l.release("/1")

	s := transcript{sent: sent, rule: ruleOrder, look: lookOrder}.readAll(c)
	inRequestOrder(t, s, "/1", "/2", "/3")
	s.wantCleanEnd(t)
}

// inRequestOrder requires responses with these bodies, and checks them one by
// one, so that the failure names the first wrong one.
func inRequestOrder(t testing.TB, s transcript, want ...string) {
	t.Helper()
	rest := s.got
	for i, body := range want {
		one := s.rest(rest, i, len(want))
		r := one.parse(t)
		at := len(one.got) - len(r.body)
		r.body, rest = one.splitBody(t, r, "GET")
		if r.body != body {
			one.fail(t, at, "it is for another request: %q, want %q", r.body, body)
		}
	}
	if rest != "" {
		s.fail(t, len(s.got)-len(rest), "there is something after the last response")
	}
}

// The second experiment: all handlers have started, and they finish in reverse.
func TestResponsesKeepOrderWhenHandlersFinishInReverse(t *testing.T) {
	l := newLatches()
	r := startServer(t, withHandler(l.handle))
	sent := get("/1") + get("/2") + get("/3", closeField)
	c := dial(t, r.addr)
	io.WriteString(c, sent)
	for range 3 {
		receive(t, l.began, "all three begin: they are handled concurrently")
	}

	for _, path := range []string{"/3", "/2", "/1"} {
		l.release(path)
		receive(t, l.ended, path+" ends")
	}

	s := transcript{sent: sent, rule: ruleOrder, look: lookOrder}.readAll(c)
	inRequestOrder(t, s, "/1", "/2", "/3")
}

// Each response is identified by its content.
func TestPipelinedResponsesKeepRequestOrder(t *testing.T) {
	sent := get("/sleep/100ms") + get("/") + get("/sleep/10ms") + get("/stream/2") + get("/none") + get("/sleep/1ms", closeField)
	s := sendAndRead(t, contract(t), ruleOrder, lookOrder, sent)

	r := s.parseAll(t, getMethods(6)...)
	for i, want := range []string{"slept 100ms\n", "Hello, World!\n", "slept 10ms\n", "line 1\nline 2\n", r[4].body, "slept 1ms\n"} {
		s.wantSame(t, fmt.Sprint("answer ", i+1), want, r[i].body)
	}
	s.wantSame(t, "the status of response 5", "404", r[4].status[:3])
	s.wantCleanEnd(t)
}

func TestPipelinedSleepsTakeAsLongAsTheLongest(t *testing.T) {
	const n, each = 8, 150 * time.Millisecond
	begin := time.Now()
	s := sendAndRead(t, contract(t), "house rule, RFC 9112 §9.3.2: safe requests are handled in parallel", "slot.go, goroutines.go",
		strings.Repeat(get("/sleep/150ms"), n-1)+get("/sleep/150ms", closeField))

	took := time.Since(begin)

	s.parseBodies(t, n)
	if took > n*each/2 {
		s.fail(t, len(s.got), "%d pipelined sleeps of %v took %v: they were handled one after the other, not concurrently", n, each, took)
	}
}

// Each body is another one, so that a response in a wrong place shows. A handler
// that takes its slot when it starts is wrong only if two start in the wrong order:
// a few requests seldom show that.
func TestManyPipelinedRequestsGetTheirOwnResponses(t *testing.T) {
	const conns, each = 20, 32
	addr, sent, lines := contract(t), "", ""
	var want []string
	for i := range each {
		fields := []string{}
		if i == each-1 {
			fields = append(fields, closeField)
		}
		lines += fmt.Sprintf("line %d\n", i+1)
		if i%2 == 0 {
			sent += get(fmt.Sprintf("/sleep/%dms", i+1), fields...)
			want = append(want, fmt.Sprintf("slept %dms\n", i+1))
		} else {
			sent += get(fmt.Sprintf("/stream/%d", i+1), fields...)
			want = append(want, lines)
		}
	}
	var clients []*net.TCPConn
	for range conns {
		clients = append(clients, converse(t, addr, sent))
	}

	for _, c := range clients {
		s := transcript{sent: sent, rule: ruleOrder, look: lookOrder}.readAll(c)
		inRequestOrder(t, s, want...)
		s.wantCleanEnd(t)
	}
}

// Requests sent later are handled too while the first one blocks.
func TestLaterHandlerRunsWhileAnEarlierOneBlocks(t *testing.T) {
	l := newLatches()
	r := startServer(t, withHandler(l.handle))
	c := converse(t, r.addr, get("/1"))
	receive(t, l.began, "1 begins")

	io.WriteString(c, get("/2", closeField))
	receive(t, l.began, "2 begins, while 1 blocks")

	l.release("/2", "/1")
	inRequestOrder(t, transcript{rule: ruleOrder, look: lookOrder}.readAll(c), "/1", "/2")
}

func TestFinishedResponseDoesNotWaitForALaterOne(t *testing.T) {
	l := newLatches()
	r := startServer(t, withHandler(l.handle))
	l.release("/1")
	defer l.release("/2")
	sent := get("/1") + get("/2")
	c := converse(t, r.addr, sent)

	requireRead(t, c, transcript{sent: sent, rule: "house rule: what is finished at the head of the line leaves", look: "takerequest.go, endTurn"}, "HTTP/1.1 200 OK\r\n")
}

func TestPartialRequestDoesNotDelayAResponse(t *testing.T) {
	sent := get("/") + "GET / HTTP/1.1\r\nHo"
	c := converse(t, contract(t), sent)

	requireRead(t, c, transcript{sent: sent, rule: "house rule: write what is finished before you wait for the rest of a request", look: "takerequest.go, endTurn"}, "HTTP/1.1 200 ")

	io.WriteString(c, "st: x\r\n"+closeField+"\r\n")
	io.Copy(io.Discard, c)
}

func TestFiftyThousandRequestsGetTheirOwnResponses(t *testing.T) {
	const conns = 50
	each := 1000
	if raceDetector {
		each = 100
	}
	r := startServer(t, withHandler(func(w *server.Response, r *server.Request) {
		switch n := rand.IntN(100); {
		case n < 2:
			time.Sleep(time.Duration(rand.IntN(500)) * time.Microsecond) // the input: handlers of random duration; no synchronization
		case n < 30:
			runtime.Gosched()
		}
		w.Write(r.Path)
	}))
	var all sync.WaitGroup
	for i := range conns {
		c := dial(t, r.addr)
		all.Go(func() {
			for n := range each {
				last := ""
				if n == each-1 {
					last = closeField
				}
				fmt.Fprint(c, get(fmt.Sprintf("/%d-%d", i, n), last))
			}
		})
		all.Go(func() {
			s := transcript{sent: fmt.Sprint(each, " requests"), rule: ruleOrder, look: lookOrder}.readAll(c)
			rest := s.got
			for n := range each {
				_, after, _ := strings.Cut(rest, "\r\n\r\n")
				want := fmt.Sprintf("/%d-%d", i, n)
				if !strings.HasPrefix(after, want) {
					t.Errorf("connection %d, response %d: want %q, got %s (%s)", i, n, want, clip(after), ruleOrder)
					return
				}
				rest = after[len(want):]
			}
			assert.Empty(t, rest, "connection %d: there is something after the last response", i)
		})
	}
	waitGroup(t, &all, "all goroutines of the test end")
	t.Logf("%d requests on %d connections, each got its own response, in order", conns*each, conns)
}

// An unsafe request runs exclusively: it begins when all requests before it
// have responses, and no later request begins before it has ended.
func TestUnsafeRequestIsABarrier(t *testing.T) {
	l := newLatches()
	r := startServer(t, withHandler(l.handle))
	sent := get("/1") + post("/2", "") + get("/3", closeField)
	c := converse(t, r.addr, sent)
	require.Equal(t, "/1", receive(t, l.began, "1 begins"))
	const rule = "the POST began beside a GET: RFC 9112 §9.3.2 allows that for safe methods only"

	neverReceives(t, l.began, rule)
	l.release("/1")
	require.Equal(t, "/2", receive(t, l.began, "the POST begins when the GET before it is answered"))
	neverReceives(t, l.began, "a GET began beside the POST before it")
	l.release("/2", "/3")

	inRequestOrder(t, transcript{sent: sent, rule: ruleOrder, look: lookOrder}.readAll(c), "/1", "/2", "/3")
}

func TestPipelineIsBounded(t *testing.T) {
	const most, sent = 8, 100
	l := newLatches()
	r := startServer(t, withHandler(l.handle), func(s *server.Server) { s.Limits.Pipeline = most })
	c := dial(t, r.addr)
	go func() { // ends when all are sent: the server reads them in the end
		for i := range sent {
			last := ""
			if i == sent-1 {
				last = closeField
			}
			fmt.Fprint(c, get(fmt.Sprint("/", i), last))
		}
	}()
	for range most {
		receive(t, l.began, "the first 8 begin")
	}

	neverReceives(t, l.began, fmt.Sprintf("house rule: at most %d requests of a connection are in flight; one more began (takerequest.go, pipelineFull)", most))

	var want []string
	for i := range sent {
		l.release(fmt.Sprint("/", i))
		want = append(want, fmt.Sprint("/", i))
	}
	inRequestOrder(t, transcript{sent: "100 requests", rule: ruleOrder, look: "conn.go, advance"}.readAll(c), want...)
}

// Responses that wait for a slow one are buffered up to a limit; a handler that
// writes more blocks until the earlier responses are complete.
func TestBytesBufferedAfterASlowResponseAreBounded(t *testing.T) {
	const n, size, parked = 8, 1 << 20, 32 << 10
	block := make(chan struct{})
	var written atomic.Int64
	r := startServer(t, withHandler(func(w *server.Response, r *server.Request) {
		if string(r.Path) == "/slow" {
			<-block
			w.WriteString("slow")
			return
		}
		for range size / 1024 {
			if _, err := w.Write(make([]byte, 1024)); err != nil {
				return
			}
			written.Add(1024)
		}
	}))
	sent := get("/slow") + strings.Repeat(get("/large"), n-1) + get("/large", closeField)
	c := converse(t, r.addr, sent)

	eventually(t, "all handlers have written up to the limit", func() bool { return written.Load() == n*parked })
	neverReceives(t, (chan bool)(nil), "") // time for a handler to write more than it may
	assert.EqualValues(t, n*parked, written.Load(), "house rule: at most %d bytes are buffered while an earlier response is unfinished (response.go, write)", parked)
	close(block)

	s := transcript{sent: sent, rule: ruleOrder, look: lookOrder}.readAll(c)
	bodies := s.parseBodies(t, n+1)
	assert.Equal(t, "slow", bodies[0])
	for _, body := range bodies[1:] {
		assert.Len(t, body, size)
	}
}

func TestPanicGets500InOrderAndThePipelineContinues(t *testing.T) {
	r := startServer(t, withHandler(func(w *server.Response, r *server.Request) {
		switch string(r.Path) {
		case "/panic":
			w.WriteString("half a response that no client has received")
			panic("oh")
		case "/nothing":
			return
		}
		w.WriteString("fine")
	}))

	sent := get("/") + get("/panic") + get("/nothing") + get("/", closeField)
	s := sendAndRead(t, r.addr, "house rule: a handler that fails gets its client a 500, and does not block later responses", "exchange.go, callHandler", sent)

	a := s.parseAll(t, getMethods(4)...)
	assert.Equal(t, []string{"200 OK", "500 Internal Server Error", "500 Internal Server Error", "200 OK"},
		[]string{a[0].status, a[1].status, a[2].status, a[3].status})
	assert.NotContains(t, s.got, "half a response")
	assert.Contains(t, r.logs.String(), "handler panicked")
}

func TestHungHandlerGets503InOrderAndThePipelineContinues(t *testing.T) {
	gone := make(chan string, 2)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	r := startServer(t, func(s *server.Server) { s.Limits.HandlerTime = 100 * time.Millisecond }, withHandler(func(w *server.Response, r *server.Request) {
		if string(r.Path) == "/hang" {
			<-w.Done()
			gone <- "told"
			<-release
		}
		w.WriteString("fine")
	}))
	sent := get("/") + get("/hang") + get("/", closeField)

	s := sendAndRead(t, r.addr, "house rule: every slot has a deadline", "deadlines.go, expire", sent)

	a := s.parseAll(t, getMethods(3)...)
	assert.Equal(t, []string{"200 OK", "503 Service Unavailable", "200 OK"}, []string{a[0].status, a[1].status, a[2].status})
	receive(t, gone, "the handler's Done channel is closed")
}

// The handler of an unsafe request holds the token: when it hangs, the
// connection is closed after the 503.
func TestHungUnsafeHandlerGets503AndTheConnectionEnds(t *testing.T) {
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	r := startServer(t, func(s *server.Server) { s.Limits.HandlerTime = 50 * time.Millisecond }, withHandler(func(w *server.Response, r *server.Request) { <-release }))

	s := sendAndRead(t, r.addr, "house rule: every slot has a deadline", "deadlines.go, expire", post("/", "body")+get("/"))

	a := s.parseAll(t, "POST")
	assert.Equal(t, "503 Service Unavailable", a[0].status)
	assert.Equal(t, "close", a[0].fields["connection"])
	s.wantCleanEnd(t)
}

func TestFailureInsideAResponseTruncatesIt(t *testing.T) {
	r := startServer(t, withHandler(func(w *server.Response, r *server.Request) {
		w.WriteString("half")
		w.Flush()
		panic("oh")
	}))

	s := sendAndRead(t, r.addr, "house rule: after the first byte of a response there is no second status line, only a close", "exchange.go, abort", get("/")+get("/"))

	s.wantPrefix(t, "HTTP/1.1 200 OK\r\n")
	assert.Equal(t, 1, strings.Count(s.got, "HTTP/1.1 "), "status lines in %q", s.got)
	assert.NotContains(t, s.got, "\r\n0\r\n", "the last chunk would mark the response as complete")
}

// When a handler hangs in the middle of its response, it is too late for a 503.
func TestHungStreamIsAborted(t *testing.T) {
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	r := startServer(t, func(s *server.Server) { s.Limits.HandlerTime = 50 * time.Millisecond }, withHandler(func(w *server.Response, r *server.Request) {
		w.WriteString("half")
		w.Flush()
		<-release
	}))

	s := sendAndRead(t, r.addr, "house rule: after the first byte of a response there is no second status line, only a close", "deadlines.go, expire", get("/"))

	s.wantPrefix(t, "HTTP/1.1 200 OK\r\n")
	assert.Equal(t, 1, strings.Count(s.got, "HTTP/1.1 "), "status lines in %q", s.got)
	assert.NotContains(t, s.got, "\r\n0\r\n", "the last chunk would mark the response as complete")
}

func TestNoRequestAfterCloseIsProcessed(t *testing.T) {
	skipIfJudging(t)
	for name, field := range map[string]string{
		"close":            "Connection: close\r\n",
		"in a list":        "Connection: keep-alive, Close\r\n",
		"in a second line": "Connection: te\r\nConnection: CLOSE\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			var handled atomic.Int32
			r := startServer(t, withHandler(func(w *server.Response, r *server.Request) { handled.Add(1); w.WriteString("x") }))

			s := sendAndRead(t, r.addr, "MUST NOT, RFC 9112 §9.6: process a request after one with Connection: close", "takerequest.go, takeRequest",
				get("/")+get("/", field)+get("/")+post("/", "x"))

			if n := len(strings.Split(s.got, "HTTP/1.1 ")) - 1; n != 2 || handled.Load() != 2 {
				s.fail(t, len(s.got), "a request after Connection: close was processed: %d handled, %d answered, want 2", handled.Load(), n)
			}
			assert.Equal(t, "close", s.parseAll(t, getMethods(2)...)[1].fields["connection"])
			s.wantCleanEnd(t)
		})
	}
}

func TestBadRequestIsAnsweredInOrderAndEndsTheConnection(t *testing.T) {
	sent := get("/sleep/50ms") + get("/") + "GET / HTTP/1.1\r\nHost : x\r\n\r\n" + get("/")
	s := sendAndRead(t, contract(t), "MUST, RFC 9112 §5.1 and §9.3: 400 in request order, then a close: the next request cannot be found", "takerequest.go, newRequest", sent)

	a := s.parseAll(t, getMethods(3)...)
	s.wantSame(t, "answer 1", "slept 50ms\n", a[0].body)
	s.wantSame(t, "the status of response 3", "400", a[2].status[:3])
	s.wantCleanEnd(t)
}

// FIN means that the client sends no more requests, not that it wants no
// response.
func TestHalfClosedClientGetsAllItsResponses(t *testing.T) {
	sent := get("/sleep/50ms") + get("/") + get("/sleep/10ms")
	c := converse(t, contract(t), sent)
	require.NoError(t, c.CloseWrite())

	s := transcript{sent: sent + "FIN", rule: "house rule, RFC 9112 §9.6: a half-closed connection still carries responses", look: "conn.go, nextAction"}.readAll(c)

	for i, body := range s.parseBodies(t, 3) {
		s.wantSame(t, fmt.Sprint("answer ", i+1), []string{"slept 50ms\n", "Hello, World!\n", "slept 10ms\n"}[i], body)
	}
	s.wantCleanEnd(t)
}

func TestResetCancelsTheHandlers(t *testing.T) {
	began, gone := make(chan string, 1), make(chan string, 1)
	r := startServer(t, withHandler(func(w *server.Response, r *server.Request) {
		began <- "handler"
		<-w.Done()
		gone <- "told"
	}))
	c := converse(t, r.addr, get("/"))
	receive(t, began, "the handler begins")

	c.SetLinger(0)
	c.Close()

	receive(t, gone, "the handler's Done channel is closed by the reset")
	eventually(t, "the connection is unregistered", func() bool { return r.Connections() == 0 })
}
