package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Bounds, deadlines and the end of a server, seen from outside.

const (
	maxUnread  = 64 << 20 // bytes that a client sends before a server that reads on has no bound; kernels hold less than half
	stillStand = time.Second
)

// writeUntilStopped writes message again and again until the server takes no byte for
// stillStand, and returns how many messages went out whole, and what is left of the
// next. It fails the test after maxUnread bytes, or when the connection breaks.
func writeUntilStopped(t testing.TB, c net.Conn, s transcript, message string) (whole int, rest string) {
	t.Helper()
	for sent := 0; sent < maxUnread; {
		c.SetWriteDeadline(time.Now().Add(stillStand))
		n, err := io.WriteString(c, message)
		sent += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return whole, message[n:]
		} else if err != nil {
			s.fail(t, 0, "the connection broke when %d bytes were sent (%v): a server that has enough stops reading", sent, err)
		}
		whole++
	}
	s.fail(t, 0, "the server has read %d MiB of requests, and the client not a byte of a response", maxUnread>>20)
	return 0, ""
}

// The first response takes long, and all others are ready: the server has to keep them.
func TestRequestsThatWaitAreBounded(t *testing.T) {
	t.Parallel()
	f := startFresh(t, "")
	request := get("/", "Padding: "+strings.Repeat("a", 7<<10)+"\r\n")
	c := converse(t, f.addr, get("/sleep/30s"))

	writeUntilStopped(t, c, transcript{sent: get("/sleep/30s") + request + "...", rule: "house rule: a connection has a bounded number of unanswered requests; at the limit do not read", look: "takerequest.go, pipelineFull"}, request)
}

func TestResponsesThatNoClientReadsAreBounded(t *testing.T) {
	t.Parallel()
	f := startFresh(t, "")
	body := strings.Repeat("b", 64<<10)
	request := post("/echo", body)
	s := transcript{sent: request + "...", rule: "house rule: responses that the client does not read are bounded; at the limit do not read either", look: "writequeue.go, writeQueue"}
	if one := sendAndRead(t, f.addr, s.rule, s.look, request+get("/", closeField)).parseUntilClose(t, "POST", "GET"); len(one) == 1 {
		return // a server that closes after a POST has one response at a time
	}
	c := dial(t, f.addr)
	whole, rest := writeUntilStopped(t, c, s, request)

	c.SetDeadline(time.Now().Add(3 * patience()))
	go io.WriteString(c, rest+get("/", closeField)) // ends at the deadline at the latest

	in := bufio.NewReader(c)
	for i := range whole + 1 {
		status, got, err := readResponse(in)
		if err != nil || status[:3] != "200" || string(got) != body {
			s.fail(t, 0, "the client reads again, and response %d of %d is not there: %s, %d bytes, %v", i+1, whole+1, status, len(got), err)
		}
	}
	status, _, err := readResponse(in)
	require.NoError(t, err, "the response to a GET after them")
	assert.Equal(t, "200", status[:3])
}

func TestEveryRequestOfADeepPipelineIsAnswered(t *testing.T) {
	const deep = 2000
	c := dial(t, contract(t))
	go io.WriteString(c, strings.Repeat(get("/"), deep-1)+get("/", closeField)) // ends at the deadline at the latest

	s := transcript{sent: "2,000 requests", rule: "house rule: a server that has enough requests reads the others later", look: "takerequest.go, pipelineFull"}.readAll(c)

	s.parseBodies(t, deep)
	s.wantCleanEnd(t)
}

// All clients come at once, and each has what it needs to see its end.
func TestEveryWaitForAClientEnds(t *testing.T) {
	t.Parallel()
	const limit, grace = time.Second, 2 * time.Second
	f := startFresh(t, "TIME_LIMIT=1", "-head-time", "1s", "-body-time", "1s", "-idle-time", "1s", "-write-time", "1s")
	const look, rule = "deadlines.go, checkDeadlines", "house rule: with TIME_LIMIT=1 the server waits a second for a client, "
	begin := time.Now()
	head := converse(t, f.addr, "GET / HTTP/1.1\r\nHo")
	dripping := converse(t, f.addr, "GET / HTTP/1.1\r\nDrops: ")
	go func() { // ends with the connection
		for { // the client's pace: faster than a byte in any limit
			if _, err := io.WriteString(dripping, "a"); err != nil {
				return
			}
			time.Sleep(limit / 20)
		}
	}()
	body := converse(t, f.addr, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello")
	idle := converse(t, f.addr, get("/"))
	const large = 8 // responses; one fills the buffers between the server and a client that does not read
	unread := dial(t, f.addr)
	go io.WriteString(unread, strings.Repeat(post("/echo", strings.Repeat("b", 6<<20)), large)) // ends with the connection
	waiting := dial(t, f.addr)
	_, err := io.WriteString(waiting, get("/sleep/2s"))
	require.NoError(t, err)
	steady := make(chan steadyReader, 1)
	go func() { steady <- readSteadily(f.addr, 6<<20, limit) }() // the test waits for it

	for _, c := range []struct {
		conn          net.Conn
		sent, forWhat string
	}{{head, "GET / HTTP/1.1\r\nHo", "also for the rest of a head"},
		{dripping, "GET / HTTP/1.1\r\nDrops: aaa", "for the whole head, not for each byte"},
		{body, "POST /echo with 5 of 10 bytes", "also for the rest of a body"},
		{idle, get("/"), "also for the next request"}} {
		s := transcript{sent: c.sent, rule: rule + c.forWhat, look: look}.readAll(c.conn)
		if errors.Is(s.end, os.ErrDeadlineExceeded) {
			s.fail(t, len(s.got), "the connection is still open after %v", time.Since(begin).Round(time.Second))
		} else if c.conn != idle && strings.HasPrefix(s.got, "HTTP/1.1 2") {
			s.fail(t, len("HTTP/1.1 "), "what is not complete is served")
		} else if c.conn == idle {
			s.parseAll(t, "GET") // and nothing after it
		}
	}
	const own = rule + "and none for itself: a client that waits for a response is not idle"
	awaitSecond(t, waiting, transcript{sent: get("/sleep/2s") + get("/"), rule: own, look: look}, limit)

	awaitReset(unread, begin.Add(limit+2*grace)) // its requests take their time before
	s := transcript{sent: "POST /echo with 6 MiB, eight times", rule: rule + "also for one that does not read", look: "notsent.go; deadlines.go"}.readAll(unread)
	if errors.Is(s.end, os.ErrDeadlineExceeded) || len(s.got) > large*6<<20 {
		s.fail(t, len(s.got), "a client that did not read for %v then gets all responses", limit+2*grace)
	}
	reader := receiveWithin(t, 3*patience(), steady, "a client that reads slowly has its response, or not")
	for tries := 1; reader.bytes < 6<<20 && reader.late > limit/2 && tries < 3; tries++ { // its machine was busy
		reader = readSteadily(f.addr, 6<<20, limit)
	}
	if reader.bytes < 6<<20 && reader.late <= limit/2 {
		s.withRule(rule+"to take more of a response, not for the whole of it").fail(t, len(s.got), "a client that reads 2 MiB in every second has %d of 6 MiB, then: %v", reader.bytes, reader.err)
	}
}

// awaitSecond reads a response from c, lets less than limit pass, and sends the second
// request. On a busy machine more may pass: then the server may have closed.
func awaitSecond(t testing.TB, c net.Conn, s transcript, limit time.Duration) {
	t.Helper()
	c.SetDeadline(time.Now().Add(3 * patience()))
	in := bufio.NewReader(c)
	status, body, err := readResponse(in)
	if s.got = string(body); err != nil || status[:3] != "200" {
		s.fail(t, 0, "the first response does not come: %s, %v", status, err)
	}
	first := time.Now()
	time.Sleep(limit / 3) // the client thinks
	_, err = io.WriteString(c, get("/"))
	if late := time.Since(first) > limit*2/3; err == nil && !late {
		_, body, err = readResponse(in)
	} else if late {
		return
	}
	if s.got += string(body); err != nil {
		s.fail(t, len(s.got), "%v after the first response the connection is not used again: %v", limit/3, err)
	}
}

// A steadyReader is what a client has received that reads slowly, and does not pause.
type steadyReader struct {
	bytes int
	late  time.Duration // the longest time that it did not read, which it did not want
	err   error
}

// readSteadily posts a body of size, and reads the response at 2 MiB a second: for twice
// limit, and so that a kernel which waits for a third of its buffer to be free tells the
// server of room several times within limit. Then it reads the rest.
func readSteadily(addr string, size int, limit time.Duration) (r steadyReader) {
	const rate, pieces = 2 << 20, 20 // a second
	c, err := dialWithBuffer(addr, 64<<10)
	if err != nil {
		return steadyReader{err: err}
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(3 * patience()))
	if _, r.err = io.WriteString(c, post("/echo", strings.Repeat("s", size), closeField)); r.err != nil {
		return r
	}
	begin, piece := time.Now(), make([]byte, rate/pieces)
	for r.err == nil {
		if due := begin.Add(time.Duration(r.bytes) * time.Second / rate); due.Before(begin.Add(2 * limit)) {
			time.Sleep(time.Until(due)) // the client's pace
			r.late = max(r.late, time.Since(due))
		}
		var n int
		n, r.err = io.ReadFull(c, piece)
		r.bytes += n
	}
	return r
}

func TestStopAnswersWhatWasRead(t *testing.T) {
	t.Parallel()
	f := startFresh(t, "")
	const look = "drain.go; main.go, serve"
	idle := converse(t, f.addr, get("/"))
	readUntil(t, idle, "Hello, World!\n")
	greedy := make(chan error, 1)
	go keepAsking(dial(t, f.addr), greedy)
	sent := get("/sleep/700ms") + get("/") + get("/sleep/600ms")
	read := converse(t, f.addr, sent)
	eventually(t, "the server has read the requests", func() bool {
		return hasRead(t, f.addr, portOf(read))
	})

	_, first := f.listeners(t)
	signalAll(t, first, syscall.SIGTERM)

	s := transcript{sent: sent + "and then SIGTERM", rule: ruleStop, look: look}.readAll(read)
	inRequestOrder(t, s, "slept 700ms\n", "Hello, World!\n", "slept 600ms\n")
	s.wantOneClose(t, false) // all of its handlers have begun before the stop, and the server may wait for another request
	s.wantCleanEnd(t)
	transcript{sent: get("/") + "and no more", rule: "house rule: a stop ends the connections that wait for a request", look: look}.readAll(idle).wantCleanEnd(t)
	more := transcript{sent: get("/") + "again and again", rule: "house rule: a stop reads no further, and every response that it began is complete", look: look}
	select {
	case err := <-greedy:
		if err != nil {
			more.fail(t, 0, "a client that asks again and again sees no clean end: %v", err)
		}
	case <-time.After(exitTime):
		more.fail(t, 0, "a client that asks again and again is still served %v after SIGTERM", exitTime)
	}
	f.wantExit(t, look)
}

const ruleStop = "house rule: a stop answers every request that was read, in order"

// Requests behind a POST wait in the server's buffer, also when it is told to stop.
func TestStopAnswersWhatIsInItsBuffer(t *testing.T) {
	t.Parallel()
	if !stopWithRequestsInTheBuffer(t, "1300ms", 800*time.Millisecond) { // on a busy machine
		stopWithRequestsInTheBuffer(t, "2500ms", 2*time.Second)
	}
}

// stopWithRequestsInTheBuffer returns whether the signal came before early: while the
// requests were there, read, and the first one's handler asleep.
func stopWithRequestsInTheBuffer(t *testing.T, sleep string, early time.Duration) bool {
	f := startFresh(t, "")
	defer f.end()
	s := transcript{sent: get("/sleep/"+sleep) + post("/echo", "one") + get("/") + post("/echo", "two") + get("/"), rule: ruleStop, look: "drain.go; takerequest.go, isLastBeforeStop"}
	if one := sendAndRead(t, f.addr, s.rule, s.look, post("/echo", "x")+get("/", closeField)).parseUntilClose(t, "POST", "GET"); len(one) == 1 {
		return true // a server that closes after a POST has no requests behind one
	}
	_, first := f.listeners(t)
	begin := time.Now()
	c := converse(t, f.addr, s.sent)
	for !hasRead(t, f.addr, portOf(c)) {
		if time.Since(begin) > early {
			return false // or it reads no more than it needs, and owes no response
		}
		time.Sleep(5 * time.Millisecond)
	}

	signalAll(t, first, syscall.SIGTERM)
	inTime := time.Since(begin) < early

	s.sent += "and then SIGTERM"
	s = s.readAll(c)
	inRequestOrder(t, s, "slept "+sleep+"\n", "one", "Hello, World!\n", "two", "Hello, World!\n")
	s.wantOneClose(t, inTime)
	s.wantCleanEnd(t)
	f.wantExit(t, "main.go, serve")
	return inTime
}

func portOf(c *net.TCPConn) uint16 { return uint16(c.LocalAddr().(*net.TCPAddr).Port) }

// wantOneClose fails the test if a response before the last says Connection: close, or,
// if the handler of the last has begun after the stop, if the last does not.
func (s transcript) wantOneClose(t testing.TB, after bool) {
	t.Helper()
	const end = "\r\nconnection: close\r\n"
	got := strings.ToLower(s.got)
	last := strings.LastIndex(got, "http/1.1 ")
	if early := strings.Index(got, end); early >= 0 && early < last {
		s.withRule("MUST, RFC 9112 §9.6: a response with Connection: close is the last; its client reads no further").fail(t, early+2, "there are responses after one that says close")
	} else if early < 0 && after {
		s.withRule("SHOULD, RFC 9112 §9.6: a server that is about to close says so in its last response").fail(t, last, "the last response of a stopping server does not say Connection: close")
	}
}

// keepAsking has sixteen requests in flight on c until the server closes it, then says how
// it ended: nil is an end after a whole response.
func keepAsking(c net.Conn, ended chan<- error) {
	io.WriteString(c, strings.Repeat(get("/"), 16))
	for in := bufio.NewReader(c); ; io.WriteString(c, get("/")) {
		if _, err := in.Peek(1); err == io.EOF {
			c.Close()
			ended <- nil
			return
		}
		r, err := http.ReadResponse(in, nil)
		if err == nil {
			_, err = io.Copy(io.Discard, r.Body)
		}
		if err != nil {
			ended <- err
			return
		}
	}
}

// hasRead returns whether the server at addr has read all that the client at port sent,
// as far as the system says so.
func hasRead(t testing.TB, addr string, port uint16) bool {
	t.Helper()
	if _, err := os.Stat("/proc/net/tcp"); err != nil {
		return true
	}
	for _, s := range sockets(t, netip.MustParseAddrPort(addr).Port()) {
		if s.peer == port && s.state == "01" {
			return s.unread == 0
		}
	}
	return false
}

// awaitReset returns when the peer of c has reset the connection, at the time until at
// the latest. It reads nothing.
func awaitReset(c *net.TCPConn, until time.Time) {
	raw, err := c.SyscallConn()
	for reset := err != nil; !reset && time.Now().Before(until); time.Sleep(time.Millisecond) {
		raw.Control(func(fd uintptr) {
			one := []unix.PollFd{{Fd: int32(fd)}} // POLLERR and POLLHUP are told without being asked for
			n, _ := unix.Poll(one, 0)
			reset = n > 0
		})
	}
}
