package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const get = "GET / HTTP/1.1\r\nHost: socket.up\r\nConnection: close\r\n\r\n"

// A testServer is our own server under test.
type testServer struct {
	*server
	addr string
	logs *logLines
	done chan struct{} // closed when serve has returned
}

// startServer runs our own server on a free port until the test ends.
func startServer(t testing.TB, change ...func(*server)) *testServer {
	t.Helper()
	skipIfJudging(t)
	return startServerOn(t, "127.0.0.1:0", change...)
}

func startServerOn(t testing.TB, addr string, change ...func(*server)) *testServer {
	t.Helper()
	fd, err := listen(addr, backlog)
	require.NoError(t, err)
	logs := &logLines{}
	s := newServer(fd, slog.New(slog.NewTextHandler(logs, nil)))
	s.headTimeout, s.lingerTimeout = maxWait, maxWait // a busy machine may not run a client for seconds
	for _, f := range change {
		f(s)
	}
	r := &testServer{s, localAddr(fd).String(), logs, make(chan struct{})}
	go func() { s.serve(); close(r.done) }() // the cleanup waits for it
	t.Cleanup(func() { s.stop(); receive(t, r.done, "the server stops") })
	return r
}

// connectEarly lets clients come before s serves: what each has sent waits in the
// kernel, so that no timeout can hit a client of a slow test.
func connectEarly(t testing.TB, s *server, sent ...string) (clients []*net.TCPConn) {
	t.Helper()
	for _, text := range sent {
		c := dial(t, localAddr(s.fd).String())
		io.WriteString(c, text)
		clients = append(clients, c)
	}
	return clients
}

// contract is the address of the server to judge: the one in $SERVER, or ours.
// Of another's nothing can be changed.
func contract(t testing.TB, change ...func(*server)) string {
	t.Helper()
	if addr := startJudgedServer(t); addr != "" {
		return addr
	}
	return startServer(t, change...).addr
}

// logLines counts the lines that a server logs.
type logLines struct {
	mu    sync.Mutex
	lines []string // guarded by mu
}

func (l *logLines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(line))
	return len(line), nil
}

func (l *logLines) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lines)
}

func TestAnswersARawSocketWithExactBytes(t *testing.T) {
	t.Parallel()
	addr, began := contract(t), time.Now()
	s := sendAndRead(t, addr, "MUST, RFC 9112 §2.1 and §4: status line, fields and blank line end in CRLF", "server.go, response", get)

	s.wantPrefix(t, "HTTP/1.1 200 ")
	r := s.wantFramed(t)
	if head := len(s.got) - len(r.body); r.body != "Hello, World!\n" {
		s.withRule("the contract: this is the body").fail(t, head, "the body is %q, want %q", r.body, "Hello, World!\n")
	} else if r.fields["connection"] != "close" {
		s.withRule("SHOULD, RFC 9112 §9.6: a client that asks for the close is told of it").fail(t, s.fieldAt("Connection"), "Connection is %q, want %q", r.fields["connection"], "close")
	}
	s.withRule("MUST, RFC 9110 §5.6.7 and §6.6.1: Date is now, as in Mon, 02 Jan 2006 15:04:05 GMT").wantDate(t, r, began)
	s.wantCleanEnd(t)
}

const lateDate = 3 * time.Second // for a server that formats the date once a second, and is busy

// wantDate fails the test unless the Date of r is now, the time of a response to a
// request that was sent after began.
func (s transcript) wantDate(t testing.TB, r parsedResponse, began time.Time) {
	t.Helper()
	text, found := r.fields["date"]
	date, err := time.Parse(dateFormat, text)
	switch {
	case !found:
		s.fail(t, s.fieldAt("Date"), "the response has no Date")
	case err != nil:
		s.fail(t, s.fieldAt("Date"), "Date is %q, not in this format: %s", text, dateFormat)
	case date.Before(began.Add(-lateDate)) || date.After(time.Now().Add(lateDate)):
		s.fail(t, s.fieldAt("Date"), "Date is %q, not the time of the answer", text)
	}
}

// The date is formatted for each response, or once a second, not once.
func TestDateChanges(t *testing.T) {
	t.Parallel()
	addr, first := contract(t), ""
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) { // a new date comes every second
		asked := time.Now()
		s := sendAndRead(t, addr, "MUST, RFC 9110 §6.6.1: Date is the time of the response", "server.go, response", get)
		r := s.parse(t)
		s.wantDate(t, r, asked)
		switch date := r.fields["date"]; {
		case first == "":
			first = date
		case first != date:
			return
		case asked.Sub(begin) > lateDate:
			s.fail(t, s.fieldAt("Date"), "Date is %q, as it was %v ago", date, lateDate)
		}
	}
}

func TestAnswersGoClient(t *testing.T) {
	t.Parallel()
	client := http.Client{Timeout: patience(), Transport: &http.Transport{DisableKeepAlives: true}}

	answer, err := client.Get("http://" + contract(t))

	s := transcript{sent: "what net/http's client sends for GET /", rule: "house rule: a well-known client is served", look: "server.go, response"}
	if err != nil {
		s.fail(t, 0, "Go's client says: %v", err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if s.got = string(body); err != nil {
		s.fail(t, len(s.got), "Go's client says of the body: %v", err)
	}
	if s.wantPrefix(t, "Hello, World!\n"); answer.StatusCode != http.StatusOK { // the reason is the server's own
		s.fail(t, 0, "the status is %q, want 200", answer.Status)
	}
	if answer.ContentLength != int64(len(body)) || s.got != "Hello, World!\n" {
		s.fail(t, min(len(s.got), len("Hello, World!\n")), "Go's client reads Content-Length as %d, and %d bytes of body; want 14 of both", answer.ContentLength, len(body))
	}
}

func TestAnswersCurl(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}

	body, err := exec.Command("curl", "--silent", "--show-error", "--max-time", fmt.Sprint(patience().Seconds()), "http://"+contract(t)).CombinedOutput()

	s := transcript{sent: "what curl sends for GET /", got: string(body), rule: "house rule: a well-known client is served", look: "server.go, response"}
	if err != nil {
		s.fail(t, 0, "curl says: %s (%v)", strings.TrimSpace(string(body)), err)
	}
	if s.wantPrefix(t, "Hello, World!\n"); s.got != "Hello, World!\n" {
		s.fail(t, len("Hello, World!\n"), "the body goes on after %q", "Hello, World!\n")
	}
}

func TestAnswersOnIPv6(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	if fd, err := listen("[::1]:0", backlog); err != nil {
		t.Skip("this machine has no IPv6 loopback: ", err)
	} else {
		unix.Close(fd)
	}
	r := startServerOn(t, "[::1]:0")

	s := sendAndRead(t, r.addr, "house rule: IPv4 and IPv6", "socket.go, parseSockaddr", get)

	s.wantPrefix(t, "HTTP/1.1 200 OK\r\n")
	assert.Contains(t, r.addr, "[::1]:")
}

func TestHEADIsAnsweredWithFieldsOnly(t *testing.T) {
	t.Parallel()
	s := sendAndRead(t, contract(t), "MUST NOT, RFC 9110 §9.3.2: no content in the answer to HEAD", "server.go, response",
		strings.Replace(get, "GET", "HEAD", 1))

	r := s.parse(t)
	if r.body != "" {
		s.fail(t, len(s.got)-len(r.body), "the answer to HEAD has a body")
	}
	if length, ok := r.fields["content-length"]; ok && length != "14" {
		s.rule = "MUST NOT, RFC 9110 §8.6: Content-Length in the answer to HEAD is that of the answer to GET, if there is one"
		s.fail(t, strings.Index(s.got, length), "the answer to GET has 14 bytes")
	}
	s.wantCleanEnd(t)
}

func TestErrorToHEADHasNoBody(t *testing.T) {
	t.Parallel()
	addr := contract(t)
	for name, c := range map[string]struct{ sent, rule string }{
		"too long a field": {"HEAD / HTTP/1.1\r\nHost: x\r\nLong: " + strings.Repeat("a", 4<<20) + "\r\n\r\n", "MUST NOT, RFC 9110 §9.3.2: no content in the answer to HEAD, an error's neither"},
		"four words":       {"HEAD / oops HTTP/1.1\r\nHost: x\r\n\r\n", "house rule, RFC 9110 §9.3.2: who begins with HEAD gets no content, whatever is wrong behind it"},
	} {
		t.Run(name, func(t *testing.T) {
			s := sendAndRead(t, addr, c.rule, "server.go, response", c.sent)

			s.wantPrefix(t, "HTTP/1.1 4")
			if r := s.parse(t); r.body != "" {
				s.fail(t, len(s.got)-len(r.body), "the error in answer to HEAD has a body")
			}
		})
	}
}

func TestRequestDeliveredOneByteAtATime(t *testing.T) {
	t.Parallel()
	s := sendAndRead(t, contract(t), "TCP is a stream: a read may return any part of what was sent, read(2)", "server.go, readHead",
		strings.Split(get, "")...)

	s.wantPrefix(t, "HTTP/1.1 200 ")
	s.wantFramed(t)
	s.wantCleanEnd(t)
}

func TestEmptyLineBeforeTheRequestIsIgnored(t *testing.T) {
	t.Parallel()
	s := sendAndRead(t, startServer(t).addr, "SHOULD, RFC 9112 §2.2: ignore an empty line before the request line", "server.go, requestLine", "\r\n"+get)

	s.wantPrefix(t, "HTTP/1.1 200 ")
}

func TestLargestHeadIsServedAndOneByteMoreIsNot(t *testing.T) {
	t.Parallel()
	r := startServer(t)
	head := func(size int) string {
		line, rest := "GET /", " HTTP/1.1\r\nHost: x\r\n\r\n"
		return line + strings.Repeat("a", size-len(line)-len(rest)) + rest
	}

	fits := sendAndRead(t, r.addr, "RFC 9112 §3: a request line of 8,000 bytes is to be served", "server.go, maxHead", head(maxHead))
	over := sendAndRead(t, r.addr, "RFC 6585 §5: 431 Request Header Fields Too Large", "server.go, readHead", head(maxHead+1))

	fits.wantPrefix(t, "HTTP/1.1 200 OK\r\n")
	over.wantPrefix(t, "HTTP/1.1 431 Request Header Fields Too Large\r\n")
	over.wantFramed(t)
	over.wantCleanEnd(t)
}

func TestHeadWithoutEndIsRefused(t *testing.T) {
	t.Parallel()
	s := sendAndRead(t, contract(t), "house rule: bounded everything; a head of 4 MiB gets a 4xx", "server.go, readHead",
		"GET / HTTP/1.1\r\nHost: x\r\nLong: "+strings.Repeat("a", 4<<20)+"\r\n\r\n")

	s.wantPrefix(t, "HTTP/1.1 ")
	if status := len("HTTP/1.1 "); !strings.HasPrefix(s.got[status:], "4") {
		s.fail(t, status, "want any status from 400 to 499 (%s)", s.describeEnd())
	}
}

func TestSilentClientDoesNotBlockTheNext(t *testing.T) {
	t.Parallel()
	var clients []*net.TCPConn
	startServer(t, func(s *server) {
		s.headTimeout = pollInterval
		clients = connectEarly(t, s, "", get)
	})
	const rule = "house rule: a head has five seconds, then it is the next one's turn"

	next := transcript{sent: get, rule: rule, look: "server.go, readHead"}.readAll(clients[1])
	silent := transcript{rule: rule, look: "server.go, statusFor"}.readAll(clients[0])

	next.wantPrefix(t, "HTTP/1.1 200 OK\r\n")
	assert.Empty(t, silent.got, "who sent nothing gets nothing")
	silent.wantCleanEnd(t)
}

func TestRequestLineOfFourWordsIsRefused(t *testing.T) {
	t.Parallel()
	s := sendAndRead(t, contract(t), "SHOULD, RFC 9112 §3: what is no request line gets 400", "server.go, statusFor",
		"GET / oops HTTP/1.1\r\nHost: socket.up\r\nConnection: close\r\n\r\n")

	s.wantPrefix(t, "HTTP/1.1 400 ")
}

func TestRequestLineWithoutAVersionIsRefused(t *testing.T) {
	t.Parallel()
	addr := contract(t)
	for _, version := range []string{"FOO", "HTTP/one"} {
		s := sendAndRead(t, addr, "SHOULD, RFC 9112 §3: what is no request line gets 400: its third word is HTTP/, a digit, a dot and a digit", "server.go, requestLine",
			"GET / "+version+"\r\nHost: socket.up\r\nConnection: close\r\n\r\n")

		s.wantPrefix(t, "HTTP/1.1 400 ")
	}
}

func TestUnfinishedHeadGets408(t *testing.T) {
	t.Parallel()
	const half = "GET / HTTP/1.1\r\n"
	var clients []*net.TCPConn
	startServer(t, func(s *server) {
		s.headTimeout = pollInterval
		clients = connectEarly(t, s, half)
	})

	late := transcript{sent: half, rule: "RFC 9110 §15.5.9: 408 when the request is not complete in time", look: "server.go, statusFor"}.readAll(clients[0])

	late.wantPrefix(t, "HTTP/1.1 408 Request Timeout\r\n")
	late.wantCleanEnd(t)
}

// A client that sends one byte for every read must not live for ever on it.
func TestSlowClientIsDisconnected(t *testing.T) {
	t.Parallel()
	stopped := make(chan struct{})
	var clients []*net.TCPConn
	startServer(t, func(s *server) {
		s.headTimeout, s.lingerTimeout = pollInterval, pollInterval
		clients = connectEarly(t, s, "G", get)
		go func() { // ends when the server has closed
			defer close(stopped)
			for _, err := clients[0].Write([]byte("G")); err == nil; _, err = clients[0].Write([]byte("G")) {
			}
		}()
	})

	next := transcript{sent: get, rule: "house rule: the limit is for the whole head, not for each read", look: "server.go, readHead"}.readAll(clients[1])

	next.wantPrefix(t, "HTTP/1.1 200 OK\r\n")
	receive(t, stopped, "the client that dribbles is cut off")
}

func TestEarlyDisconnectDoesNotStopTheServer(t *testing.T) {
	t.Parallel()
	addr := contract(t)
	for name, leave := range map[string]func(c *net.TCPConn){
		"before a byte":           func(c *net.TCPConn) { c.Close() },
		"in the middle of a head": func(c *net.TCPConn) { io.WriteString(c, "GET / HT"); c.Close() },
		"with a reset":            func(c *net.TCPConn) { io.WriteString(c, get); c.SetLinger(0); c.Close() },
		"before the answer":       func(c *net.TCPConn) { io.WriteString(c, get); c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			leave(dial(t, addr))

			s := sendAndRead(t, addr, "house rule: one client's end is not another's", "server.go, answer", get)

			s.wantPrefix(t, "HTTP/1.1 200 ")
			s.wantCleanEnd(t)
		})
	}
}

// A client may close its sending half and still wait for the response.
func TestHalfClosedClientIsAnswered(t *testing.T) {
	t.Parallel()
	c := dial(t, contract(t))
	io.WriteString(c, get)
	require.NoError(t, c.CloseWrite())

	s := transcript{sent: get + "FIN", rule: "house rule: who sends no more can still listen, RFC 9293 §3.6", look: "server.go, readHead"}.readAll(c)

	s.wantPrefix(t, "HTTP/1.1 200 ")
	s.wantFramed(t)
	s.wantCleanEnd(t)
}

// This is the reset that the first servers of most people send: TCPAbortOnClose
// in the kernel's counters.
func TestTwoThousandRequestsSeeNoReset(t *testing.T) {
	t.Parallel()
	addr := contract(t)
	for range 2000 {
		s := sendAndRead(t, addr, "house rule: read the request before you close; close(2) with bytes unread sends RST, tcp_close() in net/ipv4/tcp.c",
			"server.go, answer and lingerClose", get)
		s.wantCleanEnd(t)
		s.wantPrefix(t, "HTTP/1.1 200 ")
	}
	t.Log("2,000 connections, 0 resets")
}

func TestLargeUnreadBodyDoesNotDestroyTheResponse(t *testing.T) {
	t.Parallel()
	c := dial(t, contract(t))
	head := "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 20971520\r\n\r\n"
	io.WriteString(c, head)

	_, err := c.Write(make([]byte, 20<<20))

	s := transcript{sent: head + "and 20 MiB", rule: "house rule, RFC 9112 §9.6: close in stages, or the client may not see the answer",
		look: "server.go, lingerClose"}.readAll(c)
	if err != nil {
		s.fail(t, len(s.got), "the server stopped reading: the client's write failed: %v", err)
	}
	s.wantPrefix(t, "HTTP/1.1 ")
	s.wantFramed(t)
	s.wantCleanEnd(t)
}

func TestStopAnswersQueuedConnections(t *testing.T) {
	t.Parallel()
	r := startServer(t, func(s *server) { s.headTimeout = 10 * maxWait })
	first := dial(t, r.addr) // in service: half a request
	io.WriteString(first, get[:10])
	clients := []*net.TCPConn{first}
	for range 20 {
		c := dial(t, r.addr)
		io.WriteString(c, get)
		clients = append(clients, c)
	}

	r.stop()
	io.WriteString(first, get[10:])

	for _, c := range clients {
		s := transcript{sent: get, rule: "house rule: closing a listener resets who is queued on it, so empty the queue first", look: "server.go, serve"}.readAll(c)
		s.wantCleanEnd(t)
		s.wantPrefix(t, "HTTP/1.1 200 OK\r\n")
	}
	receive(t, r.done, "the server stops")
	_, err := net.DialTimeout("tcp", r.addr, patience())
	assert.ErrorIs(t, err, unix.ECONNREFUSED, "after a stop nobody listens")
}

// A stop waits for nobody who is silent: all who are get the same short time.
func TestStopShortensTheWaitForSilentClients(t *testing.T) {
	t.Parallel()
	var clients []*net.TCPConn
	r := startServer(t, func(s *server) {
		s.headTimeout = time.Second
		clients = connectEarly(t, s, "", "", "", get)
		s.stop()
	})

	last := transcript{sent: get, rule: "house rule: a stop answers who is queued within its grace", look: "server.go, pastDeadline"}.readAll(clients[3])

	last.wantPrefix(t, "HTTP/1.1 200 OK\r\n")
	receive(t, r.done, "the server stops")
}

// A client that got its response and does not close is lingered for. A stop has
// no time for that: the next in the queue is waiting.
func TestStopLimitsLingeringInTotal(t *testing.T) {
	t.Parallel()
	r := startServer(t, func(s *server) { s.headTimeout, s.lingerTimeout = time.Second, maxWait })
	var clients []*net.TCPConn
	for range 5 {
		c := dial(t, r.addr)
		io.WriteString(c, get)
		clients = append(clients, c)
	}

	r.stop()
	receive(t, r.done, "the server stops")

	for _, c := range clients { // all still open on this side
		s := transcript{sent: get, rule: "house rule: a stop answers who is queued within its grace", look: "server.go, pastDeadline"}.readAll(c)
		s.wantPrefix(t, "HTTP/1.1 200 OK\r\n")
		s.wantCleanEnd(t)
	}
}

// A listener on [::] calls an IPv4 client ::ffff:127.0.0.1; the client does not.
func TestIPv4ClientOfAnIPv6ListenerIsLoggedWithItsIPv4Address(t *testing.T) {
	skipIfJudging(t)
	fd, err := newSocket(unix.AF_INET6)
	if err == nil {
		unix.Close(fd)
	} else {
		t.Skip("no IPv6 here: ", err)
	}
	r := startServerOn(t, "[::]:0")

	sendAndRead(t, strings.Replace(r.addr, "[::]", "127.0.0.1", 1), "", "", get).wantPrefix(t, "HTTP/1.1 200 OK\r\n")

	eventually(t, "the connection is logged", func() bool { return r.logs.count() == 1 })
	assert.Contains(t, r.logs.lines[0], "peer=127.0.0.1:", "house rule: an address is written as its owner writes it (socket.go, addrPort)")
}

// accept(2) fails at every tick while no descriptor is left, here because the
// socket does not listen.
func TestRepeatedAcceptErrorIsLoggedOnceASecond(t *testing.T) {
	skipIfJudging(t)
	fd, err := newSocket(unix.AF_INET)
	require.NoError(t, err)
	logs := &logLines{}
	s := newServer(fd, slog.New(slog.NewTextHandler(logs, nil)))
	s.headTimeout = 10 * pollInterval // a stop waits for a tenth of it
	began, done := time.Now(), make(chan struct{})
	go func() { s.serve(); close(done) }() // the test waits for it

	eventually(t, "the failure is logged", func() bool { return logs.count() > 0 })
	time.Sleep(15 * pollInterval) // the failures go on; nothing waits for this
	s.stop()
	<-done

	most := 2 + int(time.Since(began)/repeatInterval) // and one for the stop
	assert.LessOrEqual(t, logs.count(), most, "house rule: what fails again and again is logged once a second (dedup.go)")
}
