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

func TestPipeliningWithoutReadingIsHeldBack(t *testing.T) {
	r := start(t, with(func(w *Response, r *Request) { w.Write(make([]byte, 16<<10)) }))
	c := dial(t, r.addr)
	batch, err := strings.Repeat(get("/"), 1000), error(nil)
	for end := time.Now().Add(patience()); err == nil && time.Now().Before(end); { // until a write is stuck: TCP pushes back
		c.SetWriteDeadline(time.Now().Add(2 * short))
		_, err = io.WriteString(c, batch)
	}
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	var held *transport
	r.each(func(c *transport) { held = c })

	held.mu.Lock()
	parked := 0
	if held.out.next != nil {
		parked = len(held.out.next.b)
	}
	for s := held.line.head; s != nil; s = s.behind {
		parked += len(s.answer)
	}
	held.mu.Unlock()
	t.Logf("the client's write is stuck; the server holds %d bytes of answers", parked)
	assert.LessOrEqual(t, parked, outSize+(r.Limits.Pipeline+1)*(maxParked+1024), "house rule: limits.go says what a connection may hold")
	c.Close()
}

func TestLimitsThatMakeNoSenseAreRefused(t *testing.T) {
	ours(t)
	for _, change := range []func(*Limits){
		func(l *Limits) { l.Head = 100 },
		func(l *Limits) { l.Head = inSize + 1 },
		func(l *Limits) { l.Pipeline = 0 },
		func(l *Limits) { l.IdleTime = 0 },
		func(l *Limits) { l.Body = -1 },
	} {
		l := DefaultLimits
		require.NoError(t, l.Check())
		change(&l)
		assert.Error(t, l.Check())
	}
}

// A handler that comes back after its deadline gives its place free, and a
// request that waits for it is told.
func TestLateHandlersMakeRoomWhenTheyReturn(t *testing.T) {
	release := make(chan struct{})
	r := start(t, func(s *Server) { s.Limits.Pipeline, s.Limits.HandlerTime = 2, 50*time.Millisecond }, with(func(w *Response, r *Request) {
		if string(r.Path) == "/hang" {
			<-release
		}
		w.WriteString("done\n")
	}))
	c := dial(t, r.addr)
	sent := get("/hang") + get("/hang")
	io.WriteString(c, sent)
	c.SetReadDeadline(time.Now().Add(limit))
	var first []byte
	for strings.Count(string(first), "503 Service Unavailable\r\n") < 2 { // both are late, and both still run
		more := make([]byte, 1<<10)
		n, err := c.Read(more)
		require.NoError(t, err)
		first = append(first, more[:n]...)
	}

	io.WriteString(c, get("/", closing))
	eventually(t, "the third request waits for a place", func() (waits bool) {
		r.each(func(c *transport) { waits = c.intake == stalled })
		return waits
	})
	close(release)

	s := story{sent: sent, rule: "house rule: every slot has a deadline, and ends in time", look: "intake.go, full and advance"}.hear(c)
	s.got = string(first) + s.got
	a := s.replies(t, gets(3)...)
	assert.Equal(t, "200 OK", a[2].status)
	s.endsCleanly(t)
}

// Behind a client that takes its time to read, handlers wait longer than they may
// work: one that streams, for its turn; one that is a barrier, to begin, and the
// body that it asks for then. None of that is their own slowness.
func TestWaitForTheTurnIsNotTheHandlersTime(t *testing.T) {
	t.Parallel()
	const own, size = 2 * time.Second, 32 << 20 // more than the kernel takes in for a client that does not read
	behind := make(chan string, 1)
	r := start(t, func(s *Server) { s.Limits.HandlerTime, s.Limits.BodyTime = own, own }, with(func(w *Response, r *Request) {
		switch string(r.Path) {
		case "/large":
			for range size / maxParked {
				w.Write(make([]byte, maxParked))
			}
		case "/stream":
			behind <- "a stream that waits for its turn"
			w.WriteString("flushed, ")
			w.Flush()
			w.WriteString("and ended")
		default:
			echo(w, r, nil)
		}
	}))
	sent := get("/large") + get("/stream") + "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n" + closing + "\r\n"
	c := converse(t, r.addr, sent)
	soon(t, behind, "the second handler begins")
	begun := r.clock.now()

	eventually(t, "more time has passed than a handler has", func() bool { return r.clock.now() > begun+int64(own)*5/4 })

	const rule = "house rule: a handler's time is its own; what it waits for its turn is not in it (handling.go, wait and stream)"
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
	eventually(t, "whoever is late has been found out", func() bool { return r.clock.now() > asked+int64(own)/8 })
	io.WriteString(c, "hello")
	status, body, err := readResponse(in)
	require.NoError(t, err, rule)
	assert.Equal(t, "200 OK hello", status+" "+string(body), rule)
}

// A handler that reads a body may find a reset before its loop has heard of it.
// Then nobody will wake it: it must not wait.
func TestBodyThatFindsTheResetItselfEnds(t *testing.T) {
	r := start(t)
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
	c := newTransport(r.Server, bystander{}, &mu, &stock{}, fd, netip.Addr{})
	ended := make(chan *http1.Refusal)

	go func() { ended <- c.fill(&Body{x: &exchange{c: &c.conn}, since: noLimit / 2}) }() // ends when it should

	assert.Equal(t, http1.ErrBodyEnded, soon(t, ended, "the body ends (handling.go, fill)"))
}
