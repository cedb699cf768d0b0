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

const patienceRule = "house rule: the head of a response has one deadline, however its bytes come. client.go, fill"

// dripping is a backend that never gets to the end of a head, nor stops.
func dripping(t testing.TB) *testutil.Server {
	return testutil.Serve(t, func(c *net.TCPConn, _ int) {
		c.Read(make([]byte, 4<<10))
		for _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nX: "); err == nil; _, err = io.WriteString(c, "x") {
			time.Sleep(20 * time.Millisecond) // as it drips
		}
	})
}

// waysToABackend are the ways that a request takes through a gateway: the flag
// that names the backend, and the request.
var waysToABackend = map[string]struct{ flag, request string }{
	"pool":           {"-backend", get("/", closing)},
	"pool, alone":    {"-backend", post("/", "body", closing)},
	"pool, long":     {"-backend", post("/", strings.Repeat("x", 64<<10), closing)},
	"engine":         {"-engine", get("/", closing)},
	"engine's alone": {"-engine", post("/", "body", closing)},
}

func TestDrippedHeadHasADeadline(t *testing.T) {
	t.Parallel()
	s := dripping(t)
	for name, way := range waysToABackend {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, addr, _ := serving(t, way.flag, "http://"+s.Addr, "-backend-head-time=150ms")

			a := tell(t, addr, patienceRule, "client.go, fill", way.request)

			a.begins(t, "HTTP/1.1 504 ")
		})
	}
}

// A head may take as long as its deadline says, whatever the limit of handlers
// is; so may a body. What is said is what happened.
func TestHandlersTimeDoesNotShadowTheBackends(t *testing.T) {
	t.Parallel()
	silent := testutil.Serve(t, func(c *net.TCPConn, _ int) { io.Copy(io.Discard, c) })
	const rule, look = "house rule: a backend's time is its own, and a handler's is not in it", "deadlines.go, untime"
	slow := answeringInTwo(t, 300*time.Millisecond)
	for name, way := range waysToABackend {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, addr, _ := serving(t, way.flag, "/silent=http://"+silent.Addr, way.flag, "/slow=http://"+slow.Addr, "-backend-head-time=300ms", "-handler-time=50ms")

			a := tell(t, addr, rule, look, strings.Replace(way.request, "/", "/silent", 1))
			a.begins(t, "HTTP/1.1 504 ")

			a = tell(t, addr, rule, look, strings.Replace(way.request, "/", "/slow", 1))
			a.same(t, "the body", "first second", a.framed(t).body)
		})
	}
}

// answeringInTwo is a backend that pauses in the middle of a body.
func answeringInTwo(t testing.TB, pause time.Duration) *testutil.Server {
	return testutil.Serve(t, func(c *net.TCPConn, _ int) {
		in := bufio.NewReader(c)
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			io.Copy(io.Discard, r.Body)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nfirst ")
			time.Sleep(pause) // as a quiet stream of events does
			io.WriteString(c, "second")
		}
	})
}

// What comes before the wait for a head has begun must not start its clock: an
// interim response may have come together with the response before it.
func TestHintsThatComeEarlyDoNotShortenTheDeadline(t *testing.T) {
	t.Parallel()
	s := testutil.Serve(t, func(c *net.TCPConn, _ int) {
		in := bufio.NewReader(c)
		http.ReadRequest(in)
		io.WriteString(c, testutil.Saying("warm"))
		http.ReadRequest(in)
		http.ReadRequest(in)
		io.WriteString(c, testutil.Saying("one")+"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
		time.Sleep(2 * socket.Tick) // the rest takes its time
		io.WriteString(c, testutil.Saying("two"))
		c.Read(make([]byte, 1))
	})
	_, addr, _ := serving(t, "-engine", "http://"+s.Addr)
	c := converse(t, addr, get("/"))
	story := story{sent: "GET / three times", rule: patienceRule, look: "client.go, between"}
	in := bufio.NewReader(c)
	a, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	io.Copy(io.Discard, a.Body)
	io.WriteString(c, get("/one")+get("/two", closing))

	rest, err := io.ReadAll(in)

	story.got, story.end = string(rest), err
	require.Contains(t, story.got, "103 Early Hints")
	story.got = strings.Replace(story.got, story.got[strings.Index(story.got, "HTTP/1.1 103"):strings.LastIndex(story.got, "HTTP/1.1 ")], "", 1)
	assert.Equal(t, []string{"one", "two"}, story.bodies(t, 2))
}

// Every wait for a backend is a flag, for what is right for pages is wrong for
// long polls.
func TestWaitsForABackendAreFlags(t *testing.T) {
	t.Parallel()
	silent := testutil.Serve(t, func(c *net.TCPConn, _ int) { io.Copy(io.Discard, c) })
	half := testutil.Serve(t, func(c *net.TCPConn, _ int) {
		c.Read(make([]byte, 4<<10))
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
		io.Copy(io.Discard, c)
	})
	s, got := recording(t, "")
	continues := post("/", "", "Transfer-Encoding: chunked\r\n", "Expect: 100-continue\r\n")
	continues = strings.Replace(continues, "Content-Length: 0\r\n", "", 1)
	for name, c := range map[string]struct{ flag, backend, request, begins string }{
		"to connect": {"-backend-connect-time=100ms", testutil.SilentQueue(t), get("/", closing), "HTTP/1.1 504 "},
		"for a head": {"-backend-head-time=100ms", silent.Addr, get("/", closing), "HTTP/1.1 504 "},
		"for a body": {"-backend-body-time=100ms", half.Addr, get("/", closing), ""},
		"for a 100":  {"-backend-continue-time=1ns", s.Addr, continues, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, addr, _ := serving(t, c.flag, "-backend", "http://"+c.backend)
			front := converse(t, addr, c.request)

			if c.backend != s.Addr {
				a := story{sent: c.request, rule: "house rule: " + c.flag + " is how long a gateway waits", look: "call.go, flags"}.hear(front)
				a.begins(t, c.begins)
				return
			}

			assert.Contains(t, soon(t, got, "the head of the request"), "100-continue")
			began := time.Now()
			soon(t, firstByte(front), "100 Continue for the client: its body is asked for")
			assert.Less(t, time.Since(began), client.DefaultTimeouts.Cont, "it waited as if there was no flag")
		})
	}
}

// firstByte gets one when the first byte has come.
func firstByte(c net.Conn) <-chan error {
	came := make(chan error, 1)
	go func() { _, err := c.Read(make([]byte, 1)); came <- err }()
	return came
}
