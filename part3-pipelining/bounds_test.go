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

const short = 50 * time.Millisecond // a limit for tests

func TestUnfinishedHeadGets408(t *testing.T) {
	r := start(t, func(s *server.Server) { s.Limits.HeadTime = short })

	s := tell(t, r.addr, "RFC 9110 §15.5.9: 408 when the request is not complete in time", "deadlines.go, tick", "GET / HTTP/1.1\r\n")

	s.begins(t, "HTTP/1.1 408 Request Timeout\r\n")
	s.framed(t)
	s.endsCleanly(t)
}

func TestIdleConnectionIsClosedSilently(t *testing.T) {
	r := start(t, func(s *server.Server) { s.Limits.IdleTime = short })

	fresh := tell(t, r.addr, "house rule: who asked nothing is told nothing", "deadlines.go, tick", "")
	used := tell(t, r.addr, "house rule: an idle connection is closed without a word", "deadlines.go, tick", get("/"))

	assert.Empty(t, fresh.got)
	fresh.endsCleanly(t)
	assert.Equal(t, []string{"Hello, World!\n"}, used.bodies(t, 1))
	used.endsCleanly(t)
}

// Who waits for an answer is not idle, and neither is who waits for the one
// behind it.
func TestWaitingForAnAnswerIsNotIdle(t *testing.T) {
	r := start(t, func(s *server.Server) { s.Limits.IdleTime = 300 * time.Millisecond })
	c := converse(t, r.addr, get("/sleep/400ms"))
	in := bufio.NewReader(c)
	_, body, err := readResponse(in)
	require.NoError(t, err)
	require.Equal(t, "slept 400ms\n", string(body))

	io.WriteString(c, get("/"))

	_, body, err = readResponse(in)
	require.NoError(t, err, "house rule: the idle time begins when the last answer is out (deadlines.go, tick)")
	assert.Equal(t, "Hello, World!\n", string(body))
}

func TestUnfinishedBodyGets408(t *testing.T) {
	r := start(t, func(s *server.Server) { s.Limits.BodyTime = short })

	s := tell(t, r.addr, "RFC 9110 §15.5.9: 408 when the request is not complete in time", "handling.go, fill",
		"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhello")

	s.begins(t, "HTTP/1.1 408 Request Timeout\r\n")
	s.endsCleanly(t)
}

func TestBodyThatEndsInTheMiddleGets400(t *testing.T) {
	c := converse(t, start(t).addr, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhello")
	require.NoError(t, c.CloseWrite())

	s := story{rule: "MUST, RFC 9112 §8: an incomplete body is no request", look: "handling.go, fill"}.hear(c)

	s.begins(t, "HTTP/1.1 400 Bad Request\r\n")
	s.endsCleanly(t)
}

// Bytes that come one by one do not renew a time limit.
func TestDribblersAreCutOffWhileOthersAreServed(t *testing.T) {
	r := start(t, func(s *server.Server) {
		s.Limits.HeadTime, s.Limits.BodyTime, s.Limits.LingerTime = 2*short, 2*short, short
	})
	cut := make(chan string)
	for _, begin := range []string{"GET / HTTP/1.1\r\nA: ", "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n", chunkedPost("FFFFF\r\n")} {
		c := converse(t, r.addr, begin)
		go func() { // ends when the server has closed
			for _, err := c.Write([]byte("a")); err == nil; _, err = c.Write([]byte("a")) {
				time.Sleep(time.Millisecond) // dribbling is the point; nothing waits for it
			}
			cut <- begin
		}()
	}

	for range 3 {
		s := tell(t, r.addr, "house rule: one client's slowness is not another's", "conn.go", get("/", closing))
		s.begins(t, "HTTP/1.1 200 ")
		soon(t, cut, "a dribbler is cut off: the limit is for the whole head and for 16 KiB of body (deadlines.go, tick; handling.go, fill)")
	}
}

// A client that asks and does not read is not answered for ever, and costs no
// more memory than the limits say.
func TestClientThatDoesNotReadIsCutOff(t *testing.T) {
	r := start(t, func(s *server.Server) { s.Limits.WriteTime = 2 * short }, with(func(w *server.Response, r *server.Request) { w.Write(make([]byte, 16<<10)) }))
	c := dial(t, r.addr)
	batch := strings.Repeat(get("/"), 1000)

	var err error
	sent := 0
	for end := time.Now().Add(3 * patience()); err == nil && time.Now().Before(end); {
		c.SetWriteDeadline(time.Now().Add(limit))
		_, err = io.WriteString(c, batch)
		sent++
	}

	netErr, isNet := err.(net.Error)
	require.Error(t, err, "the server reads on and on for a client that takes no answer")
	require.False(t, isNet && netErr.Timeout(), "the server neither reads nor closes")
	eventually(t, "the connection is forgotten", func() bool { return r.Connections() == 0 })
	t.Logf("cut off after %d requests; TCP had pushed back long before", sent*1000)
}

func TestBodyOverTheLimitGets413(t *testing.T) {
	r := start(t, func(s *server.Server) { s.Limits.Body = 10 })
	const rule, look = "RFC 9110 §15.5.14: 413 Content Too Large", "framing.go, frame and takeSize"

	for name, sent := range map[string]string{
		"Content-Length": post("/echo", "01234567890"),
		"chunked":        chunkedPost("8\r\n01234567\r\n3\r\n890\r\n0\r\n\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			s := tell(t, r.addr, rule, look, sent)
			s.begins(t, "HTTP/1.1 413 Content Too Large\r\n")
			s.endsCleanly(t)
		})
	}
	fits := tell(t, r.addr, rule, look, post("/echo", "0123456789", closing))
	fits.begins(t, "HTTP/1.1 200 OK\r\n")
}

func TestLargestHeadIsServedAndOneByteMoreIsNot(t *testing.T) {
	r := start(t)
	head := func(size int) string {
		rest := len(get("/", "A: \r\n", closing))
		return get("/", "A: "+strings.Repeat("a", size-rest)+"\r\n", closing)
	}
	const rule, look = "RFC 6585 §5: 431 Request Header Fields Too Large", "intake.go, head"

	tell(t, r.addr, rule, look, head(r.Limits.Head)).begins(t, "HTTP/1.1 200 OK\r\n")
	over := tell(t, r.addr, rule, look, head(r.Limits.Head+1))

	over.begins(t, "HTTP/1.1 431 ")
	over.endsCleanly(t)
}

// More connections than allowed wait in the kernel's queue, and idle ones make
// room for them.
func TestConnectionsOverTheLimitWaitTheirTurn(t *testing.T) {
	const most, clients = 4, 40
	r := start(t, func(s *server.Server) {
		s.Limits.Connections, s.Limits.IdleTime, s.Limits.LingerTime = most, short, short
	})
	var all []net.Conn
	for range clients {
		all = append(all, converse(t, r.addr, get("/"))) // none of them closes
	}

	for i, c := range all {
		status, _, err := readResponse(bufio.NewReader(c))
		require.NoError(t, err, "client %d", i)
		assert.Equal(t, "200 OK", status)
		assert.LessOrEqual(t, r.Connections(), most)
	}
}

// A client that may be idle for an hour may not when others wait for its place:
// not the one that was idle before they came, nor the one that came later.
func TestIdleConnectionsAreHurriedInACrowd(t *testing.T) {
	t.Parallel()
	const most, clients = 2, 6
	r := start(t, func(s *server.Server) {
		s.Limits.Connections, s.Limits.IdleTime, s.Limits.LingerTime = most, time.Hour, short
	})
	var all []net.Conn
	for range clients {
		all = append(all, converse(t, r.addr, get("/"))) // none of them closes
	}

	for i, c := range all {
		status, _, err := readResponse(bufio.NewReader(c))
		require.NoError(t, err, "house rule: who is idle makes room; client %d waits in vain (server.go, waitForRoom and until)", i)
		assert.Equal(t, "200 OK", status)
	}
}

func TestTenThousandIdleConnectionsAndABusyOne(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector needs more memory than the connections")
	}
	const idle, most = 10_000, 6 << 10 // bytes of resident memory each
	needDescriptors(t, idle+200)
	cmd, addr, _ := serving(t, "-idle-time", "10m", "-connections", fmt.Sprint(idle+100))
	before := resident(t, cmd.Process.Pid)
	end := time.Now().Add(2 * patience())
	for range idle {
		readWhole(t, converse(t, addr, get("/")), make([]byte, 60))
		require.True(t, time.Now().Before(end), "the server has no time for its clients")
	}

	s := tell(t, addr, "house rule: idle connections cost memory, not time", "loop.go", strings.Repeat(get("/"), 999)+get("/", closing))

	assert.Len(t, s.bodies(t, 1000), 1000)
	each := (resident(t, cmd.Process.Pid) - before) / idle
	t.Logf("an idle connection costs %d bytes of resident memory", each)
	assert.LessOrEqual(t, each, most, "bytes of resident memory for each idle connection (buffer.go, giveBack)")
}

// runtime.Goexit, which t.FailNow calls too, ends a goroutine that serves the
// connection. It may end the connection, not the process.
func TestHandlerThatEndsItsGoroutineGets500(t *testing.T) {
	t.Parallel()
	r := start(t, with(func(w *server.Response, r *server.Request) {
		if string(r.Path) == "/exit" {
			runtime.Goexit()
		}
		w.WriteString("done\n")
	}))

	s := tell(t, r.addr, "house rule: a handler's end is not the server's", "exchange.go, call", get("/")+post("/exit", ""))

	a := s.replies(t, "GET", "POST")
	assert.Equal(t, []string{"200 OK", "500 Internal Server Error"}, []string{a[0].status, a[1].status})
	tell(t, r.addr, "", "", get("/", closing)).begins(t, "HTTP/1.1 200 OK\r\n")
}

// An upload that outlives its handler's deadline is answered 503 and lingered
// for, while its handler still waits for the rest. The handler must not lift the
// deadline of that close: nobody else would end it.
func TestUploadThatOutlivesItsDeadlineIsClosed(t *testing.T) {
	t.Parallel()
	r := start(t, func(s *server.Server) {
		s.Limits.HandlerTime, s.Limits.BodyTime, s.Limits.LingerTime = 300*time.Millisecond, 200*time.Millisecond, 100*time.Millisecond
	})
	c := dial(t, r.addr)
	fmt.Fprintf(c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", 1<<20)
	pace := time.NewTicker(100 * time.Millisecond) // a slow client, who then falls silent
	defer pace.Stop()
	for range 4 {
		c.Write(make([]byte, 16<<10))
		<-pace.C
	}

	eventually(t, "the connection is closed, though the client keeps its side open (deadlines.go, expire; conn.go, next)", func() bool { return r.Connections() == 0 })
}
