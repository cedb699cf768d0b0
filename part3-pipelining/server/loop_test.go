//go:build linux

package server

import (
	"bufio"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The kernel reuses a descriptor's number as soon as it is closed. Events that were
// reported before would reach the next connection with that number.
func TestDescriptorIsNotReusedBeforeAllEventsAreHandled(t *testing.T) {
	r := startServer(t)
	c := converse(t, r.addr, get("/"))
	requireRead(t, c, transcript{}, "HTTP/1.1 200 ")

	eventually(t, "the write of the response has returned", func() (back bool) {
		r.forEachConn(func(c *transport) {
			if back = c.output.writeState == notWriting; !back {
				return
			}
			fd := c.fd
			c.fail(errReset)
			c.runActions()
			_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			assert.NoError(t, err, "the descriptor is closed while the leader may have events of it (loop.go, closeLater)")
			assert.Nil(t, c.driver.(*loop).conns[fd], "and no connection gets them")
		})
		return back
	})

	eventually(t, "the connection is closed", func() bool { return r.Connections() == 0 })
}

// A child process may keep a connection open that its parent has closed: between fork and
// exec it has every descriptor. Its events are reported under the old number.
func TestEventsOfAnInheritedDescriptorDoNotReachAnotherConnection(t *testing.T) {
	for name, happens := range map[string]func(held int){
		"a reset": func(held int) { unix.Write(held, []byte("x")) }, // to a client that has closed: it answers with RST
		"an end":  func(held int) { unix.Shutdown(held, unix.SHUT_RDWR) },
	} {
		r := startServer(t, func(s *Server) { s.drivers, s.Limits.Connections = s.drivers[:1], 2 })
		old := converse(t, r.addr, get("/"))
		requireRead(t, old, transcript{}, "HTTP/1.1 200 OK\r\n")
		var number int
		r.forEachConn(func(c *transport) { number = c.fd })
		held, err := unix.Dup(number) // as a child does
		require.NoError(t, err)
		defer unix.Close(held)
		witness := converse(t, r.addr, get("/"))
		eventually(t, "both are accepted", func() bool { return r.Connections() == 2 })
		stranger := converse(t, r.addr, get("/")) // waits in the queue: the server is full
		fillDescriptorGaps(t, number)
		old.CloseWrite() // so the server closes, and accepts the stranger
		s := transcript{sent: get("/"), rule: "house rule: an event is a hint, because its number may belong to another connection", look: "conn.go, onEvent"}
		requireRead(t, stranger, s, "HTTP/1.1 200 OK\r\n")
		same := false
		r.forEachConn(func(c *transport) { same = same || c.fd == number })
		require.True(t, same, "the stranger has the old number")

		old.Close()
		happens(held)
		io.WriteString(witness, get("/")) // an event as well, reported after those
		in := bufio.NewReader(witness)
		for range 2 {
			_, _, err := readResponse(in)
			require.NoError(t, err)
		}
		io.WriteString(stranger, get("/", closeField))

		if s = s.readAll(stranger); !strings.Contains(s.got, "HTTP/1.1 200 OK\r\n") {
			s.fail(t, len(s.got), "after %s of the number's earlier connection: want a response (the connection ended: %v)", name, s.end)
		}
	}
}

// fillDescriptorGaps opens every free descriptor below number until the test ends.
func fillDescriptorGaps(t *testing.T, number int) {
	for fd := 0; fd < number; {
		var err error
		fd, err = unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		t.Cleanup(func() { unix.Close(fd) })
	}
}

// The event that the socket is writable may arrive after write(2) has returned EAGAIN, and
// before the writer has the lock again. The kernel does not repeat it.
func TestWritableEventDuringAWriteIsNotLost(t *testing.T) {
	skipIfJudging(t)
	var o writeQueue
	o.enqueue([]byte("answer"))
	o.startWrite(0, 1) // transport.write, with the lock open

	o.onWritable() // conn.onEvent
	o.onBlocked()

	assert.Equal(t, notWriting, o.writeState, "the writer waits for an event that was reported before (writequeue.go, onBlocked)")
}

// Requests that have been read already cause no event. If a client sends much and reads
// slowly, its requests are resumed when the slot queue has room again.
func TestStalledRequestsAreResumed(t *testing.T) {
	const requests, size = 1500, 16 << 10 // bytes; all of it is more than the kernel buffers
	r := startServer(t, func(s *Server) { s.Limits.HeadTime = 2 * testTimeout }, withHandler(func(w *Response, r *Request) { w.Write(make([]byte, size)) }))
	sent := strings.Repeat(get("/"), requests-1) + get("/", closeField)
	c := dial(t, r.addr)
	c.SetDeadline(time.Now().Add(maxWait))
	go io.WriteString(c, sent) // ends when everything is sent
	eventually(t, "the server has stopped taking requests", func() (isStalled bool) {
		r.forEachConn(func(c *transport) { isStalled = c.inputState == stalled && c.output.writeState == writeBlocked })
		return isStalled
	})
	begun := r.clock.now()
	eventually(t, "more time has passed than a head may take", func() bool { return r.clock.now() > begun+int64(4*testTimeout) })

	s := transcript{sent: "1,500 requests", rule: "house rule: a client that waits for the server is not slow", look: "conn.go, queueTurn"}.readAll(c)

	a := s.parseAll(t, getMethods(requests)...)
	for i := range a {
		require.Equal(t, "200 OK", a[i].status, "response %d (conn.go, queueTurn)", i+1)
	}
}

// The slot queue may be full when an upload returns its connection: its response is
// complete, but output has no room for it. The connection must become stalled, as for any
// other full queue, or it is not resumed when there is room.
func TestRequestsAfterAnUploadAreHandled(t *testing.T) {
	for _, depth := range []int{1, 32} {
		const requests, size = 400, 30_000 // bytes; all of it is more than the kernel buffers
		r := startServer(t, func(s *Server) { s.Limits.Pipeline, s.Limits.HeadTime = depth, 2*testTimeout })
		body := strings.Repeat("b", size)
		c := dial(t, r.addr)
		c.SetDeadline(time.Now().Add(maxWait))
		go io.WriteString(c, strings.Repeat(post("/echo", body), requests-1)+post("/echo", body, closeField)) // ends when everything is sent
		eventually(t, "the send buffer is full", func() (isBlocked bool) {
			r.forEachConn(func(c *transport) { isBlocked = c.output.writeState == writeBlocked && c.slots.length > 0 })
			return isBlocked
		})
		begun := r.clock.now()
		eventually(t, "more time has passed than a head may take", func() bool { return r.clock.now() > begun+int64(4*testTimeout) })

		s := transcript{sent: "400 uploads", rule: "house rule: a client that waits for the server is not slow", look: "conn.go, onEvent; takerequest.go"}.readAll(c)

		a := s.parseAll(t, strings.Split(strings.Repeat("POST ", requests-1)+"POST", " ")...)
		for i := range a {
			require.Equal(t, "200 OK", a[i].status, "response %d with -pipeline %d (conn.go, onEvent; takerequest.go)", i+1, depth)
		}
	}
}

// An upload may take longer than HandlerTime, as long as it keeps the pace of BodyTime.
func TestSlowUploadDoesNotCountAsHandlerTime(t *testing.T) {
	t.Parallel()
	r := startServer(t, func(s *Server) { s.Limits.BodyTime, s.Limits.HandlerTime = 600*time.Millisecond, 800*time.Millisecond })
	c := converse(t, r.addr, "POST /echo HTTP/1.1\r\nHost: x\r\n"+closeField+"Content-Length: 200000\r\n\r\n")
	begun := r.clock.now()
	for i := range 10 { // 20,000 bytes, every 120 ms of the server's clock
		io.WriteString(c, strings.Repeat("x", 20_000))
		eventually(t, "time passes", func() bool { return r.clock.now() > begun+int64(i+1)*int64(120*time.Millisecond) })
	}

	s := transcript{sent: "200,000 bytes", rule: "house rule: a wait for the client does not count as handler time", look: "handlerio.go, readMoreBody"}.readAll(c)

	s.wantPrefix(t, "HTTP/1.1 200 ")
}

// A client that gets 100 Continue has its full time from then on, however late that is.
func TestBodyTimeoutStartsWith100Continue(t *testing.T) {
	t.Parallel()
	var r *testServer
	asked := make(chan struct{})
	r = startServer(t, func(s *Server) { s.Limits.BodyTime = 400 * time.Millisecond }, withHandler(func(w *Response, r *Request) {
		<-asked
		body, _ := r.Body.ReadAll()
		w.Write(body)
	}))
	sent := "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n" + closeField + "Content-Length: 5\r\n\r\n"
	c := converse(t, r.addr, sent)
	begun := r.clock.now()
	eventually(t, "more time has passed than a body may take", func() bool { return r.clock.now() > begun+int64(800*time.Millisecond) })
	close(asked)
	st := transcript{sent: sent, rule: "RFC 9110 §10.1.1: 100 says that the client should send now", look: "handlerio.go, readMoreBody"}
	requireRead(t, c, st, "HTTP/1.1 100 Continue\r\n\r\n")

	io.WriteString(c, "hello")

	st.readAll(c).wantPrefix(t, "HTTP/1.1 200 ")
}
