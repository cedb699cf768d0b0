package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/socket"
)

const ruleHeadDeadline = "house rule: a response head has one deadline, however its bytes arrive. wait.go, waitRead"

// startDripping starts a backend that sends a response head byte by byte and
// never ends it.
func startDripping(t testing.TB) *testutil.Server {
	return testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
		c.Read(make([]byte, 4<<10))
		for _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nX: "); err == nil; _, err = io.WriteString(c, "x") {
			time.Sleep(20 * time.Millisecond) // the input: one byte at a time
		}
	})
}

// poolAndEngineFlags are the paths of a request through a gateway: the flag
// that names the backend, and a request that takes that path.
var poolAndEngineFlags = map[string]struct{ flag, request string }{
	"pool":           {"-backend", get("/", closeField)},
	"pool, alone":    {"-backend", post("/", "body", closeField)},
	"pool, long":     {"-backend", post("/", strings.Repeat("x", 64<<10), closeField)},
	"engine":         {"-engine", get("/", closeField)},
	"engine's alone": {"-engine", post("/", "body", closeField)},
}

func TestSlowResponseHeadTimesOut(t *testing.T) {
	t.Parallel()
	s := startDripping(t)
	for name, way := range poolAndEngineFlags {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, addr, _ := startServing(t, way.flag, "http://"+s.Addr, "-backend-head-time=1s") // fifty drops: on a slow machine the time between two is still shorter

			a := sendAndRead(t, addr, ruleHeadDeadline, "wait.go, waitRead", way.request)

			a.wantPrefix(t, "HTTP/1.1 504 ")
		})
	}
}

// A response head may take as long as its own deadline, whatever the handlers'
// timeout is; so may a body. The status says which timeout expired.
func TestHandlerTimeoutDoesNotPreemptBackendTimeouts(t *testing.T) {
	t.Parallel()
	silent := testutil.ServeScript(t, func(c *net.TCPConn, _ int) { io.Copy(io.Discard, c) })
	const rule, look = "house rule: the handler timeout does not apply to the backend's response", "deadlines.go, disableTimeout"
	slow := startAnsweringInTwo(t, 300*time.Millisecond)
	for name, way := range poolAndEngineFlags {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, addr, _ := startServing(t, way.flag, "/silent=http://"+silent.Addr, way.flag, "/slow=http://"+slow.Addr, "-backend-head-time=300ms", "-handler-time=50ms")

			a := sendAndRead(t, addr, rule, look, strings.Replace(way.request, "/", "/silent", 1))
			a.wantPrefix(t, "HTTP/1.1 504 ")

			a = sendAndRead(t, addr, rule, look, strings.Replace(way.request, "/", "/slow", 1))
			a.wantSame(t, "the body", "first second", a.wantFramed(t).body)
		})
	}
}

// startAnsweringInTwo starts a backend that pauses in the middle of a body.
func startAnsweringInTwo(t testing.TB, pause time.Duration) *testutil.Server {
	return testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
		in := bufio.NewReader(c)
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			io.Copy(io.Discard, r.Body)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nfirst ")
			time.Sleep(pause) // like a stream with rare events
			io.WriteString(c, "second")
		}
	})
}

// Bytes that arrive before the gateway waits for a head must not start the
// head's deadline: an interim response may arrive together with the response
// before it.
func TestEarlyHintsDoNotShortenTheDeadline(t *testing.T) {
	t.Parallel()
	s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
		in := bufio.NewReader(c)
		http.ReadRequest(in)
		io.WriteString(c, testutil.Response200("warm"))
		http.ReadRequest(in)
		http.ReadRequest(in)
		io.WriteString(c, testutil.Response200("one")+"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
		time.Sleep(2 * socket.PollInterval) // the final response is late
		io.WriteString(c, testutil.Response200("two"))
		c.Read(make([]byte, 1))
	})
	_, addr, _ := startServing(t, "-engine", "http://"+s.Addr)
	c := converse(t, addr, get("/"))
	story := transcript{sent: "GET / three times", rule: ruleHeadDeadline, look: "responsehead.go, handleInterim"}
	in := bufio.NewReader(c)
	a, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	io.Copy(io.Discard, a.Body)
	io.WriteString(c, get("/one")+get("/two", closeField))

	rest, err := io.ReadAll(in)

	story.got, story.end = string(rest), err
	require.Contains(t, story.got, "103 Early Hints")
	story.got = strings.Replace(story.got, story.got[strings.Index(story.got, "HTTP/1.1 103"):strings.LastIndex(story.got, "HTTP/1.1 ")], "", 1)
	assert.Equal(t, []string{"one", "two"}, story.parseBodies(t, 2))
}

// Every timeout for a backend is a flag: what suits pages is too short for long
// polling.
func TestBackendTimeoutsAreFlags(t *testing.T) {
	t.Parallel()
	silent := testutil.ServeScript(t, func(c *net.TCPConn, _ int) { io.Copy(io.Discard, c) })
	half := testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
		c.Read(make([]byte, 4<<10))
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
		io.Copy(io.Discard, c)
	})
	s, got := startRecording(t, "")
	continues := post("/", "", "Transfer-Encoding: chunked\r\n", "Expect: 100-continue\r\n")
	continues = strings.Replace(continues, "Content-Length: 0\r\n", "", 1)
	for name, c := range map[string]struct{ flag, backend, request, begins string }{
		"to connect": {"-backend-connect-time=100ms", testutil.UnresponsiveAddr(t), get("/", closeField), "HTTP/1.1 504 "},
		"for a head": {"-backend-head-time=100ms", silent.Addr, get("/", closeField), "HTTP/1.1 504 "},
		"for a body": {"-backend-body-time=100ms", half.Addr, get("/", closeField), ""},
		"for a 100":  {"-backend-continue-time=1ns", s.Addr, continues, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, addr, _ := startServing(t, c.flag, "-backend", "http://"+c.backend)
			front := converse(t, addr, c.request)

			if c.backend != s.Addr {
				a := transcript{sent: c.request, rule: "house rule: " + c.flag + " is how long the gateway waits", look: "request.go, AddFlags"}.readAll(front)
				a.wantPrefix(t, c.begins)
				return
			}

			assert.Contains(t, receive(t, got, "the head of the request"), "100-continue")
			began := time.Now()
			receive(t, firstByte(front), "100 Continue for the client")
			assert.Less(t, time.Since(began), client.DefaultTimeouts.ContinueWait, "the flag was ignored")
		})
	}
}

// firstByte returns a channel that delivers the result of reading the first
// byte from c.
func firstByte(c net.Conn) <-chan error {
	came := make(chan error, 1)
	go func() { _, err := c.Read(make([]byte, 1)); came <- err }()
	return came
}
