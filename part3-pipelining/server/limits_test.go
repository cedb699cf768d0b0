package server

import (
	"bufio"
	"io"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"socketup/part3-pipelining/http1"
	"socketup/part3-pipelining/socket"
)

func TestPipeliningWithoutReadingIsBackpressured(t *testing.T) {
	r := startServer(t, withHandler(func(w *Response, r *Request) { w.Write(make([]byte, 16<<10)) }))
	c := dial(t, r.addr)
	batch, err := strings.Repeat(get("/"), 1000), error(nil)
	for end := time.Now().Add(patience()); err == nil && time.Now().Before(end); { // until a write blocks: TCP backpressure
		c.SetWriteDeadline(time.Now().Add(2 * testTimeout))
		_, err = io.WriteString(c, batch)
	}
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	var held *transport
	r.forEachConn(func(c *transport) { held = c })

	held.mu.Lock()
	parked := 0
	if held.output.next != nil {
		parked = len(held.output.next.b)
	}
	for s := held.slots.head; s != nil; s = s.next {
		parked += len(s.encoded)
	}
	held.mu.Unlock()
	t.Logf("the client's write is blocked; the server holds %d bytes of responses", parked)
	assert.LessOrEqual(t, parked, writeBufferSize+(r.Limits.Pipeline+1)*(maxBuffered+1024), "house rule: limits.go says what a connection may hold")
	c.Close()
}

func TestInvalidLimitsAreRefused(t *testing.T) {
	skipIfJudging(t)
	for _, change := range []func(*Limits){
		func(l *Limits) { l.Head = 100 },
		func(l *Limits) { l.Head = readBufferSize + 1 },
		func(l *Limits) { l.Pipeline = 0 },
		func(l *Limits) { l.IdleTime = 0 },
		func(l *Limits) { l.Body = -1 },
	} {
		l := DefaultLimits
		require.NoError(t, l.Validate())
		change(&l)
		assert.Error(t, l.Validate())
	}
}

// A handler that returns after its deadline frees its place, and the connection resumes
// a request that waits for one.
func TestExpiredHandlersFreeTheirSlotWhenTheyReturn(t *testing.T) {
	release := make(chan struct{})
	r := startServer(t, func(s *Server) { s.Limits.Pipeline, s.Limits.HandlerTime = 2, 50*time.Millisecond }, withHandler(func(w *Response, r *Request) {
		if string(r.Path) == "/hang" {
			<-release
		}
		w.WriteString("done\n")
	}))
	c := dial(t, r.addr)
	sent := get("/hang") + get("/hang")
	io.WriteString(c, sent)
	c.SetReadDeadline(time.Now().Add(maxWait))
	var first []byte
	for strings.Count(string(first), "503 Service Unavailable\r\n") < 2 { // both have timed out, and both still run
		more := make([]byte, 1<<10)
		n, err := c.Read(more)
		require.NoError(t, err)
		first = append(first, more[:n]...)
	}

	io.WriteString(c, get("/", closeField))
	eventually(t, "the third request waits for a place", func() (waits bool) {
		r.forEachConn(func(c *transport) { waits = c.inputState == stalled })
		return waits
	})
	close(release)

	s := transcript{sent: sent, rule: "house rule: every slot has a deadline, and is completed in time", look: "takerequest.go, pipelineFull and advance"}.readAll(c)
	s.got = string(first) + s.got
	a := s.parseAll(t, getMethods(3)...)
	assert.Equal(t, "200 OK", a[2].status)
	s.wantCleanEnd(t)
}

// When the client reads slowly, handlers wait for longer than they may run: a handler
// that streams waits for earlier responses; a barrier waits to start, and then for its body. None
// of these waits counts as handler time.
func TestWaitingForItsTurnDoesNotCountAsHandlerTime(t *testing.T) {
	t.Parallel()
	const own, size = 2 * time.Second, 32 << 20 // bytes; more than the kernel buffers for a client that does not read
	behind := make(chan string, 1)
	r := startServer(t, func(s *Server) { s.Limits.HandlerTime, s.Limits.BodyTime = own, 5*own }, withHandler(func(w *Response, r *Request) {
		switch string(r.Path) {
		case "/large":
			for range size / maxBuffered {
				w.Write(make([]byte, maxBuffered))
			}
		case "/stream":
			behind <- "a stream that waits for an earlier response"
			w.WriteString("flushed, ")
			w.Flush()
			w.WriteString("and ended")
		default:
			echo(w, r, nil)
		}
	}))
	sent := get("/large") + get("/stream") + "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n" + closeField + "\r\n"
	c := converse(t, r.addr, sent)
	receive(t, behind, "the second handler begins")
	begun := r.clock.now()

	eventually(t, "more time has passed than a handler has", func() bool { return r.clock.now() > begun+int64(own)*5/4 })

	const rule = "house rule: a handler's wait for earlier responses does not count as its time (handlerio.go, waitToStart and stream)"
	in := bufio.NewReader(c)
	for _, want := range []int{size, len("flushed, and ended")} {
		status, body, err := readResponse(in)
		require.NoError(t, err, rule)
		require.Equal(t, "200 OK", status, rule)
		require.Len(t, body, want)
	}
	line, err := readLine(in)
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 100 Continue", line, rule)
	readLine(in)
	asked := r.clock.now()
	eventually(t, "late handlers have been expired", func() bool { return r.clock.now() > asked+int64(own)/8 })
	io.WriteString(c, "hello")
	status, body, err := readResponse(in)
	require.NoError(t, err, rule)
	assert.Equal(t, "200 OK hello", status+" "+string(body), rule)
}

// A handler that reads a body may see a reset before its loop gets the event. Then nothing
// would wake it, so it must not wait.
func TestBodyReadEndsOnAReset(t *testing.T) {
	r := startServer(t)
	listener, err := socket.Listen("127.0.0.1:0", 1)
	require.NoError(t, err)
	defer unix.Close(listener)
	client := dial(t, socket.LocalAddr(listener).String())
	fd, _, err := socket.Accept(listener)
	require.NoError(t, err)
	defer unix.Close(fd)
	require.NoError(t, unix.SetNonblock(fd, true))
	client.SetLinger(0)
	client.Close() // a reset
	var mu sync.Mutex
	c := newTransport(r.Server, noopDriver{}, &mu, &exchangeCache{}, fd, netip.Addr{})
	ended := make(chan *http1.StatusError)

	go func() { ended <- c.readMoreBody(&Body{x: &exchange{conn: &c.conn}, waitingSince: noDeadline / 2}) }() // ends when the read returns

	assert.Equal(t, http1.ErrBodyTruncated, receive(t, ended, "the body ends (handlerio.go, readMoreBody)"))
}
