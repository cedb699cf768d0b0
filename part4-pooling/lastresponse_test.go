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
	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/socket"
)

// A response with which the connection ends, and requests that were sent behind its
// own.

const ruleLastResponse = "house rule, RFC 9112 §9.6: an answer that ends the connection is not cut because of what was sent behind its request"

// readRequestBytewise reads a request from c and not a byte more: what is behind it stays in
// the kernel, which resets the connection when it is closed.
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

// The first response on a connection shows that it persists, so the second request
// has others behind it; and the second response is the last.
func TestLastResponseIsNotCutByLaterRequests(t *testing.T) {
	t.Parallel()
	const many = 8
	long := strings.Repeat("x", 4<<20) // a part of it is still in the kernel when the backend closes
	for name, last := range map[string]string{
		"ends with the connection": "HTTP/1.1 200 OK\r\n\r\n%[2]s",
		"in chunks, and close":     "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n%[1]x\r\n%[2]s\r\n0\r\n\r\n",
		"a length, and close":      "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %[1]d\r\n\r\n%[2]s",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
				path, ok := readRequestBytewise(c)
				if ok && path != "/3" { // whose response is always the last, and so is alone in the end
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
			assert.True(t, strings.HasSuffix(got[3], long), "answer 3 was the last of its connection")
		})
	}
}

// Half of the last response has come; what the client asks for then goes by another
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
			c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)) // it can miss a fault, but not invent one
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
	receive(t, begun, "half of the last answer")
	a, err := http.ReadResponse(in, nil)
	require.NoError(t, err)

	io.WriteString(client, get("/2"))

	eventually(t, "the next request is with the engine", func() bool { return g.EngineCounts.Pushed.Load() == 3 })
	rest <- true
	assert.Empty(t, receive(t, behind, "what came behind the last request"), "MUST, RFC 9112 §9.6: nothing is sent behind an answer that says close. http1read.go, noteClose")
	body, err := io.ReadAll(a.Body)
	assert.NoError(t, err)
	assert.Equal(t, "/last", string(body))
	requireResponse(t, client, in, "", "200 OK", "/2")
}

// An engine that gives a connection up leaves nothing of it behind, though its client
// stays: neither the buffer nor the watch over the client.
func TestConnectionAnEngineClosedIsReleased(t *testing.T) { // alone: it measures the heap
	s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
		first := true
		testutil.ReadRequests(bufio.NewReader(c), func(r *http.Request) bool {
			if first || r.URL.Path != "/2" {
				first = false
				io.WriteString(c, testutil.Response200(r.URL.Path))
				return true
			}
			time.Sleep(2 * socket.PollInterval) // so that the client is watched
			io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n")
			return false // the body does not come: it has to be asked for again
		})
	})
	r, g := startEngineGateway(t, s.Addr)
	const clients, rounds = 12, 10
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
			for range 3 {
				a, err := http.ReadResponse(in, nil)
				require.NoError(t, err)
				io.Copy(io.Discard, a.Body)
			}
		}
	}

	grown, given := heapInUse()-before, g.Pool.Stats().Backend(s.Addr).Dialled-dialled
	require.Greater(t, given, uint64(clients*rounds/2))
	assert.Less(t, grown, int64(given)*client.BufferSize/4, "house rule: %d connections were given up, and leave nothing. http1lane.go, inFlight", given)
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC() // what sync.Pool keeps for one more
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
