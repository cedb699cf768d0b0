package client

import (
	"context"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"socketup/part4-pooling/internal/testutil"
)

func TestEveryResponseFramingIsReadToItsEnd(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method, answer, body string
		stays                bool
	}{
		"Content-Length":           {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", true},
		"Content-Length 0":         {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", true},
		"chunked":                  {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=1\r\nllo\r\n0\r\n\r\n", "hello", true},
		"chunked, with trailers":   {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\nSum: 1\r\n\r\n", "hello", true},
		"until close":              {"GET", "HTTP/1.1 200 OK\r\n\r\nhello", "hello", false},
		"HEAD":                     {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "", true},
		"HEAD, chunked":            {"HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "", true},
		"204":                      {"GET", "HTTP/1.1 204 No Content\r\n\r\n", "", true},
		"204 with a length":        {"GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", "", false},
		"304 with a length":        {"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "", true},
		"interim responses first":  {"GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", true},
		"close":                    {"GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", "hello", false},
		"close in a list":          {"GET", "HTTP/1.1 200 OK\r\nConnection: keep-alive, Close\r\nContent-Length: 5\r\n\r\nhello", "hello", false},
		"HTTP/1.0":                 {"GET", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", false},
		"HTTP/1.0 with keep-alive": {"GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", "hello", true},
		"no reason":                {"GET", "HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello", "hello", true},
	} {
		for _, at := range []int{0, 1, 20, len(c.answer) - 1} { // where the bytes are split
			s := testutil.ServeScript(t, func(conn *net.TCPConn, _ int) {
				conn.Read(make([]byte, 1000))
				io.WriteString(conn, c.answer[:at])
				time.Sleep(time.Millisecond) // so that they arrive in two packets, most of the time
				io.WriteString(conn, c.answer[at:])
				if !c.stays {
					conn.Close()
				}
				conn.Read(make([]byte, 1))
			})
			l := dialConn(t, s.Addr)
			call := getRequest("/")
			call.Method = []byte(c.method)

			r, err := l.RoundTrip(t.Context(), call, &testTimeouts, time.Time{})
			require.NoError(t, err, name)
			body, err := io.ReadAll(r)

			require.NoError(t, err, name)
			assert.Equal(t, c.body, string(body), "%s, cut at %d", name, at)
			assert.Equal(t, c.stays, r.Persists(), "%s: can the connection be used again?", name)
		}
	}
}

// A hookedContext calls a function when a goroutine begins to watch it.
type hookedContext struct {
	context.Context
	hook func()
}

func (h hookedContext) Done() <-chan struct{} { h.hook(); return h.Context.Done() }

// The client's body may fail at the one moment when no goroutine waits: when
// waitRead renews a wait that has become a long one.
func TestBodyThatFailsBetweenWaitsEndsTheRequest(t *testing.T) {
	t.Parallel()
	s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) { io.Copy(io.Discard, c) })
	l := dialConn(t, s.Addr)
	fail, failed := make(chan bool), make(chan error, 1)
	c := postRequest("/", "")
	c.Stream, c.Length = testutil.FailingReader{Release: fail}, 100
	ctx := hookedContext{t.Context(), sync.OnceFunc(func() {
		l.SetReadDeadline(time.Time{}) // the deadline that has just passed
		close(fail)
		for l.RawConn.Read(func(uintptr) bool { return true }) == nil { // until the interrupt has arrived
			runtime.Gosched()
		}
	})}

	go func() {
		_, err := l.RoundTrip(ctx, c, &Timeouts{Idle: testutil.MaxWait}, time.Time{})
		failed <- err
	}()

	assert.ErrorIs(t, testutil.Receive(t, failed, "the request whose body failed ends. wait.go, waitRead: is there an interrupt that comes too early?"), ErrUpload)
}

// A context ends a request that the kernel does not accept, because the server does not
// read, as it ends the wait for a response. So does the deadline of the exchange.
func TestContextAndDeadlineEndABlockedWrite(t *testing.T) {
	t.Parallel()
	s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) { <-t.Context().Done() })
	long := strings.Repeat("x", 16<<20) // bytes: more than the buffers of both kernels hold
	requests := map[string]*Request{
		"with its head":     {Body: []byte(long)},
		"in the head alone": {FieldLines: []byte("A: " + long + "\r\n"), Stream: strings.NewReader("x"), Length: 1},
		"streamed":          {Stream: testutil.Zeros{}, Length: 1 << 40},
	}
	for name, c := range requests {
		for _, want := range []error{context.DeadlineExceeded, ErrTotalTimeout} {
			c.Method, c.Target, c.Host = []byte("POST"), []byte("/"), []byte("socket.up")
			ctx, cancel := context.WithCancel(t.Context())
			until := time.Now().Add(100 * time.Millisecond)
			if want == context.DeadlineExceeded {
				ctx, cancel = context.WithDeadline(t.Context(), until)
				until = time.Time{}
			}
			l := dialConn(t, s.Addr)
			require.NoError(t, unix.SetsockoptInt(l.Sysfd, unix.SOL_SOCKET, unix.SO_SNDBUF, 64<<10))
			began := time.Now()

			_, err := l.RoundTrip(ctx, c, &testTimeouts, until)

			cancel()
			assert.ErrorIs(t, err, want, name)
			assert.Less(t, time.Since(began), testTimeouts.Head/2, "%s: %v", name, want)
		}
	}
}

// A request that the kernel accepts at once does not pay for watching the context.
func TestWriteThatDoesNotBlockDoesNotWatchTheContext(t *testing.T) {
	t.Parallel()
	s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) { io.Copy(io.Discard, c) })
	l, watched := dialConn(t, s.Addr), false
	c := postRequest("/", "")
	c.Stream, c.Length = strings.NewReader("hello"), 5
	r := &Response{Conn: l, Ctx: hookedContext{t.Context(), func() { watched = true }}}
	l.BeginExchange()
	l.unsent = c.AppendTo(nil)

	r.startUpload(c)
	testutil.Receive(t, l.upload.done, "the upload ends")

	assert.Empty(t, l.unsent, "the head was sent")
	assert.True(t, l.upload.sent, "the body was sent")
	assert.False(t, watched, "a goroutine watches the context. exchange.go, writeRest")
}
