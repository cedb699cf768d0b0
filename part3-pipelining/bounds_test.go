package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part3-pipelining/server"
)

const testTimeout = 50 * time.Millisecond // a deadline short enough for tests

func TestUnfinishedHeadGets408(t *testing.T) {
	r := startServer(t, func(s *server.Server) { s.Limits.HeadTime = testTimeout })

	s := sendAndRead(t, r.addr, "RFC 9110 §15.5.9: 408 when the request is not complete in time", "deadlines.go, checkDeadlines", "GET / HTTP/1.1\r\n")

	s.wantPrefix(t, "HTTP/1.1 408 Request Timeout\r\n")
	s.wantFramed(t)
	s.wantCleanEnd(t)
}

func TestIdleConnectionIsClosedSilently(t *testing.T) {
	r := startServer(t, func(s *server.Server) { s.Limits.IdleTime = testTimeout })

	fresh := sendAndRead(t, r.addr, "house rule: a client that sent no request gets no response", "deadlines.go, checkDeadlines", "")
	used := sendAndRead(t, r.addr, "house rule: an idle connection is closed without a response", "deadlines.go, checkDeadlines", get("/"))

	assert.Empty(t, fresh.got)
	fresh.wantCleanEnd(t)
	assert.Equal(t, []string{"Hello, World!\n"}, used.parseBodies(t, 1))
	used.wantCleanEnd(t)
}

// A client that waits for a response is not idle, and neither is one whose next
// response waits for an earlier one.
func TestWaitingForAResponseIsNotIdle(t *testing.T) {
	r := startServer(t, func(s *server.Server) { s.Limits.IdleTime = 300 * time.Millisecond })
	c := converse(t, r.addr, get("/sleep/400ms"))
	in := bufio.NewReader(c)
	_, body, err := readResponse(in)
	require.NoError(t, err)
	require.Equal(t, "slept 400ms\n", string(body))

	io.WriteString(c, get("/"))

	_, body, err = readResponse(in)
	require.NoError(t, err, "house rule: the idle time begins when the last response is written (deadlines.go, checkDeadlines)")
	assert.Equal(t, "Hello, World!\n", string(body))
}

func TestUnfinishedBodyGets408(t *testing.T) {
	r := startServer(t, func(s *server.Server) { s.Limits.BodyTime = testTimeout })

	s := sendAndRead(t, r.addr, "RFC 9110 §15.5.9: 408 when the request is not complete in time", "handlerio.go, readMoreBody",
		"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhello")

	s.wantPrefix(t, "HTTP/1.1 408 Request Timeout\r\n")
	s.wantCleanEnd(t)
}

func TestTruncatedBodyGets400(t *testing.T) {
	c := converse(t, startServer(t).addr, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhello")
	require.NoError(t, c.CloseWrite())

	s := transcript{rule: "MUST, RFC 9112 §8: an incomplete body makes the request incomplete", look: "handlerio.go, readMoreBody"}.readAll(c)

	s.wantPrefix(t, "HTTP/1.1 400 Bad Request\r\n")
	s.wantCleanEnd(t)
}

// Bytes that arrive one at a time do not extend a deadline.
func TestSlowClientsAreDisconnectedWhileOthersAreServed(t *testing.T) {
	r := startServer(t, func(s *server.Server) {
		s.Limits.HeadTime, s.Limits.BodyTime, s.Limits.LingerTime = 2*testTimeout, 2*testTimeout, testTimeout
	})
	cut := make(chan string)
	for _, begin := range []string{"GET / HTTP/1.1\r\nA: ", "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n", chunkedPost("FFFFF\r\n")} {
		c := converse(t, r.addr, begin)
		go func() { // ends when the server closes
			for _, err := c.Write([]byte("a")); err == nil; _, err = c.Write([]byte("a")) {
				time.Sleep(time.Millisecond) // the input: one byte a millisecond; no synchronization
			}
			cut <- begin
		}()
	}

	for range 3 {
		s := sendAndRead(t, r.addr, "house rule: a slow client does not slow down other clients", "conn.go", get("/", closeField))
		s.wantPrefix(t, "HTTP/1.1 200 ")
		receive(t, cut, "a client that sends slowly is disconnected: one deadline covers the whole head, or 16 KiB of body (deadlines.go, checkDeadlines; handlerio.go, readMoreBody)")
	}
}

// A client that sends requests and does not read is disconnected, and costs no
// more memory than the limits allow.
func TestClientThatDoesNotReadIsDisconnected(t *testing.T) {
	r := startServer(t, func(s *server.Server) { s.Limits.WriteTime = 2 * testTimeout }, withHandler(func(w *server.Response, r *server.Request) { w.Write(make([]byte, 16<<10)) }))
	c := dial(t, r.addr)
	batch := strings.Repeat(get("/"), 1000)

	var err error
	sent := 0
	for end := time.Now().Add(3 * patience()); err == nil && time.Now().Before(end); {
		c.SetWriteDeadline(time.Now().Add(maxWait))
		_, err = io.WriteString(c, batch)
		sent++
	}

	netErr, isNet := err.(net.Error)
	require.Error(t, err, "the server keeps reading from a client that reads no response")
	require.False(t, isNet && netErr.Timeout(), "the server neither reads nor closes")
	eventually(t, "the connection is unregistered", func() bool { return r.Connections() == 0 })
	t.Logf("disconnected after %d requests; TCP flow control had stopped the client long before", sent*1000)
}

func TestBodyOverTheLimitGets413(t *testing.T) {
	r := startServer(t, func(s *server.Server) { s.Limits.Body = 10 })
	const rule, look = "RFC 9110 §15.5.14: 413 Content Too Large", "framing.go, NewBodyDecoder and nextChunkSize"

	for name, sent := range map[string]string{
		"Content-Length": post("/echo", "01234567890"),
		"chunked":        chunkedPost("8\r\n01234567\r\n3\r\n890\r\n0\r\n\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			s := sendAndRead(t, r.addr, rule, look, sent)
			s.wantPrefix(t, "HTTP/1.1 413 Content Too Large\r\n")
			s.wantCleanEnd(t)
		})
	}
	fits := sendAndRead(t, r.addr, rule, look, post("/echo", "0123456789", closeField))
	fits.wantPrefix(t, "HTTP/1.1 200 OK\r\n")
}

func TestLargestHeadIsServedAndOneByteMoreIsNot(t *testing.T) {
	r := startServer(t)
	head := func(size int) string {
		rest := len(get("/", "A: \r\n", closeField))
		return get("/", "A: "+strings.Repeat("a", size-rest)+"\r\n", closeField)
	}
	const rule, look = "RFC 6585 §5: 431 Request Header Fields Too Large", "takerequest.go, scanHead"

	sendAndRead(t, r.addr, rule, look, head(r.Limits.Head)).wantPrefix(t, "HTTP/1.1 200 OK\r\n")
	over := sendAndRead(t, r.addr, rule, look, head(r.Limits.Head+1))

	over.wantPrefix(t, "HTTP/1.1 431 ")
	over.wantCleanEnd(t)
}

// Connections over the limit wait in the kernel's accept queue, and idle ones
// are closed to make room for them.
func TestConnectionsOverTheLimitWaitInTheKernelQueue(t *testing.T) {
	t.Parallel()
	const most, clients = 4, 40
	r := startServer(t, func(s *server.Server) {
		s.Limits.Connections, s.Limits.IdleTime, s.Limits.LingerTime = most, testTimeout, testTimeout
	})
	var all []net.Conn
	for range clients {
		all = append(all, converse(t, r.addr, get("/"))) // without Connection: close
	}

	for i, c := range all {
		status, _, err := readResponse(bufio.NewReader(c))
		require.NoError(t, err, "client %d", i)
		assert.Equal(t, "200 OK", status)
		assert.LessOrEqual(t, r.Connections(), most)
	}
}

// The idle time of an hour shrinks when other clients wait for a connection:
// both for clients that were idle before and for those that connect later.
func TestIdleConnectionsCloseSoonerAtCapacity(t *testing.T) {
	t.Parallel()
	const most, clients = 2, 6
	r := startServer(t, func(s *server.Server) {
		s.Limits.Connections, s.Limits.IdleTime, s.Limits.LingerTime = most, time.Hour, testTimeout
	})
	var all []net.Conn
	for range clients {
		all = append(all, converse(t, r.addr, get("/"))) // without Connection: close
	}

	for i, c := range all {
		status, _, err := readResponse(bufio.NewReader(c))
		require.NoError(t, err, "house rule: an idle connection makes room for a waiting one; client %d was not served (server.go, waitForCapacity and waitDeadline)", i)
		assert.Equal(t, "200 OK", status)
	}
}

func TestTenThousandIdleConnectionsAndABusyOne(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector needs more memory than the connections")
	}
	const idle, most = 10_000, 6 << 10 // most: bytes of resident memory for each
	requireDescriptors(t, idle+200)
	cmd, addr, _ := startServing(t, "-idle-time", "10m", "-connections", fmt.Sprint(idle+100))
	before := residentMemory(t, cmd.Process.Pid)
	end := time.Now().Add(2 * patience())
	for range idle {
		readFull(t, converse(t, addr, get("/")), make([]byte, 60))
		require.True(t, time.Now().Before(end), "the server does not serve its clients")
	}

	s := sendAndRead(t, addr, "house rule: idle connections cost memory, not time", "loop.go", strings.Repeat(get("/"), 999)+get("/", closeField))

	assert.Len(t, s.parseBodies(t, 1000), 1000)
	each := (residentMemory(t, cmd.Process.Pid) - before) / idle
	t.Logf("an idle connection costs %d bytes of resident memory", each)
	assert.LessOrEqual(t, each, most, "bytes of resident memory for each idle connection (buffer.go, releaseIfEmpty)")
}

// runtime.Goexit, which t.FailNow calls too, ends the goroutine that serves the
// connection. It may end the connection, not the process.
func TestHandlerThatEndsItsGoroutineGets500(t *testing.T) {
	t.Parallel()
	r := startServer(t, withHandler(func(w *server.Response, r *server.Request) {
		if string(r.Path) == "/exit" {
			runtime.Goexit()
		}
		w.WriteString("done\n")
	}))

	s := sendAndRead(t, r.addr, "house rule: a handler that ends its goroutine does not end the server", "exchange.go, callHandler", get("/")+post("/exit", ""))

	a := s.parseAll(t, "GET", "POST")
	assert.Equal(t, []string{"200 OK", "500 Internal Server Error"}, []string{a[0].status, a[1].status})
	sendAndRead(t, r.addr, "", "", get("/", closeField)).wantPrefix(t, "HTTP/1.1 200 OK\r\n")
}

// An upload that outlives its handler's deadline gets 503 and a lingering
// close, while its handler still waits for the rest. The handler must not
// cancel the deadline of that close: nothing else would end it.
func TestUploadPastItsDeadlineIsClosed(t *testing.T) {
	t.Parallel()
	r := startServer(t, func(s *server.Server) {
		s.Limits.HandlerTime, s.Limits.BodyTime, s.Limits.LingerTime = 300*time.Millisecond, 200*time.Millisecond, 100*time.Millisecond
	})
	c := dial(t, r.addr)
	fmt.Fprintf(c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", 1<<20)
	pace := time.NewTicker(100 * time.Millisecond) // a slow client, which then sends nothing
	defer pace.Stop()
	for range 4 {
		c.Write(make([]byte, 16<<10))
		<-pace.C
	}

	eventually(t, "the connection is closed, though the client keeps its side open (deadlines.go, expire; conn.go, nextAction)", func() bool { return r.Connections() == 0 })
}
