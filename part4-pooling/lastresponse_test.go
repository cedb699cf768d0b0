package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/socket"
)

// The last response on a connection, and requests that were sent after its
// request.

const ruleLastResponse = "house rule, RFC 9112 §9.6: the last response on a connection is not truncated because later requests were sent"

// readRequestBytewise reads a request from c and not a byte more: later bytes
// stay unread in the kernel, which therefore resets the connection when it is
// closed.
func readRequestBytewise(c net.Conn) (path string, ok bool) {
	var head []byte
	for b := make([]byte, 1); !strings.HasSuffix(string(head), "\r\n\r\n"); head = append(head, b[0]) {
		if _, err := c.Read(b); err != nil {
			return "", false
		}
	}
	_, rest, _ := strings.Cut(string(head), " ")
	path, _, _ = strings.Cut(rest, " ")
	return path, true
}

// The first response on a connection shows that it persists, so requests are
// pipelined after the second one; and the second response is the last.
func TestLastResponseIsNotCutByLaterRequests(t *testing.T) {
	t.Parallel()
	const many = 8
	long := strings.Repeat("x", 4<<20) // partly still in the kernel's send buffer when the backend closes
	for name, last := range map[string]string{
		"ends with the connection": "HTTP/1.1 200 OK\r\n\r\n%[2]s",
		"in chunks, and close":     "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n%[1]x\r\n%[2]s\r\n0\r\n\r\n",
		"a length, and close":      "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %[1]d\r\n\r\n%[2]s",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
				path, ok := readRequestBytewise(c)
				if ok && path != "/3" { // whose response always closes, so that it is sent alone in the end
					io.WriteString(c, testutil.Response200(path))
					path, ok = readRequestBytewise(c)
				}
				if ok {
					body := path + long
					fmt.Fprintf(c, last, len(body), body)
				}
			})
			r, _ := startEngineGateway(t, s.Addr)
			text, want := getPaths("/", many)

			got := sendAndRead(t, r.addr, ruleLastResponse, "http1read.go, isUnreliable", text).parseBodies(t, many)

			for i := range want {
				assert.Equal(t, want[i], strings.TrimSuffix(got[i], long), "answer %d. %s", i, ruleLastResponse)
			}
			assert.True(t, strings.HasSuffix(got[3], long), "response 3 was the last on its connection")
		})
	}
}

// Half of the last response has arrived; the client's next requests use another
// connection.
func TestNothingIsSentAfterAResponseWithClose(t *testing.T) {
	t.Parallel()
	begun, rest := make(chan bool), make(chan bool)
	behind := make(chan string, 1)
	s := testutil.ServeScript(t, func(c *net.TCPConn, number int) {
		in := bufio.NewReader(c)
		testutil.ReadRequests(in, func(r *http.Request) bool {
			if number > 1 || r.URL.Path != "/last" {
				io.WriteString(c, testutil.Response200(r.URL.Path))
				return true
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n/l")
			begun <- true
			<-rest
			c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)) // can miss a fault, but not report a false one
			more, _ := io.ReadAll(in)
			behind <- string(more)
			io.WriteString(c, "ast")
			return false
		})
	})
	r, g := startEngineGateway(t, s.Addr)
	client := converse(t, r.addr, get("/1"))
	in := bufio.NewReader(client)
	requireResponse(t, client, in, "", "200 OK", "/1")
	io.WriteString(client, get("/last"))
	receive(t, begun, "half of the last response")
	a, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	iterations := g.EngineCounts.Iterations.Load()

	io.WriteString(client, get("/2"))

	eventually(t, "the next request is in the engine, whose writer has seen it", func() bool {
		return g.EngineCounts.Pushed.Load() == 3 && g.EngineCounts.Iterations.Load() > iterations
	})
	rest <- true
	assert.Empty(t, receive(t, behind, "what arrived after the last request"), "MUST, RFC 9112 §9.6: nothing is sent behind an answer that says close. http1read.go, noteClose")
	body, err := io.ReadAll(a.Body)
	assert.NoError(t, err)
	assert.Equal(t, "/last", string(body))
	requireResponse(t, client, in, "", "200 OK", "/2")
}

// An engine that closes a connection releases all of it while its client stays
// connected: the buffer, and the watch on the client.
func TestConnectionAnEngineClosedIsReleased(t *testing.T) { // not parallel: it measures the heap
	const clients = 12
	requireEnginesRelease(t, clients, 2*clients) // no engine has to give its connection to another
}

// With fewer connections than clients an engine also returns connections for other
// clients, between two requests of its own, and closes some of those too.
func TestConnectionOfCompetingEnginesIsReleased(t *testing.T) { // not parallel: it measures the heap
	requireEnginesRelease(t, 12, 4)
}

// requireEnginesRelease sends three requests at once on each of several connections
// to a gateway whose pool has this many. The backend ends the response to the second
// early if the third has arrived.
func requireEnginesRelease(t *testing.T, clients, connections int) {
	t.Helper()
	const rounds = 10
	s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
		first, in := true, bufio.NewReader(c)
		testutil.ReadRequests(in, func(r *http.Request) bool {
			if first || r.URL.Path != "/2" {
				first = false
				io.WriteString(c, testutil.Response200(r.URL.Path))
				return true
			}
			c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // an engine that must return its connection sends nothing behind it
			_, err := in.Peek(1)
			c.SetReadDeadline(time.Time{})
			if err != nil { // a response that ends early would be passed on as it is
				io.WriteString(c, testutil.Response200(r.URL.Path))
				return true
			}
			time.Sleep(2 * socket.PollInterval) // until the engine watches the client
			io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n")
			return false // the body is missing: the request must be retried
		})
	})
	r, g := startEngineGateway(t, s.Addr, func(g *gateway.Gateway) {
		g.Pool.Limits.PerBackend, g.Pool.Limits.Total = connections, connections
	})
	var all []net.Conn
	var readers []*bufio.Reader
	for range clients {
		c := converse(t, r.addr, "")
		all, readers = append(all, c), append(readers, bufio.NewReader(c))
	}
	before := heapInUse()
	dialled := g.Pool.Stats().Backend(s.Addr).Dialled
	for range rounds {
		for _, c := range all {
			io.WriteString(c, get("/1")+get("/2")+get("/3"))
		}
		for _, in := range readers {
			for _, want := range []string{"200 /1", "200 /2", "200 /3"} {
				require.Equal(t, want, readFinal(t, in, "GET"), ruleLastResponse)
			}
		}
	}

	grown, given := heapInUse()-before, g.Pool.Stats().Backend(s.Addr).Dialled-dialled
	require.Greater(t, given, uint64(connections*rounds/4), "connections that the backend ended")
	assert.Equal(t, connections < clients, g.Pool.Stats().Backend(s.Addr).Waited > 0, "engines wait for each other")
	assert.Less(t, grown, int64(given)*client.BufferSize/4, "house rule: %d connections were closed, and must be released. http1lane.go, inFlight", given)
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC() // sync.Pool keeps its contents for one more collection
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
