package server

import (
	"bufio"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// However long it was idle: a client that sends a request within drainIdleTime of the stop
// is answered, with Connection: close.
func TestRequestWithinTheDrainIdleTimeIsAnswered(t *testing.T) {
	for attempt := 1; ; attempt++ {
		r := startServer(t)
		c := converse(t, r.addr, get("/"))
		in := bufio.NewReader(c)
		_, _, err := readResponse(in)
		require.NoError(t, err)
		idle := r.clock.now()
		eventually(t, "it has been idle for longer than drainIdleTime", func() bool { return r.clock.now() > idle+2*int64(drainIdleTime) })

		began := time.Now()
		r.Stop()
		eventually(t, "the server has noted the stop", func() bool { return r.stoppedAt.Load() != 0 })
		time.Sleep(drainIdleTime / 2) // the request is in flight
		_, err = io.WriteString(c, get("/"))
		if took := time.Since(began); took > drainIdleTime && attempt < 20 {
			continue // this machine was too busy: the request was sent too late to count
		}

		require.NoError(t, err)
		s := transcript{sent: get("/"), rule: "house rule: a stop loses no request", look: "server.go, waitDeadline"}
		got, _ := io.ReadAll(in)
		s.got = string(got)
		a := s.parseAll(t, "GET")
		assert.Equal(t, "200 OK", a[0].status)
		assert.Equal(t, "close", a[0].fields["connection"], "the client is told that this was the last response")
		return
	}
}

// The idle time is up and a request has arrived, but the loop has not read it yet.
func TestConnectionWithAnUnreadRequestIsNotIdle(t *testing.T) {
	r := startServer(t)
	c := converse(t, r.addr, get("/"))
	in := bufio.NewReader(c)
	_, _, err := readResponse(in)
	require.NoError(t, err)

	r.forEachConn(func(front *transport) { // the lock is held, so the loop cannot read it
		io.WriteString(c, get("/", closeField))
		eventually(t, "the kernel has the request", func() bool {
			ask := []unix.PollFd{{Fd: int32(front.fd), Events: unix.POLLIN}}
			n, _ := unix.Poll(ask, 0)
			return n == 1
		})
		front.waitingSince, front.idleSince = -int64(time.Hour), -int64(time.Hour)
		front.checkDeadlines()
		front.runActions()
	})

	status, _, err := readResponse(in)
	require.NoError(t, err, "house rule: a request that arrived in time is answered (deadlines.go, closeIfIdle)")
	assert.Equal(t, "200 OK", status)
}

// All connections are in use and the accept queue is empty: an idle connection may stay
// for its full time. When a client waits in the queue, the idle connection is closed.
func TestFullServerWithAnEmptyQueueClosesNoIdleConnection(t *testing.T) {
	t.Parallel()
	r := startServer(t, func(s *Server) { s.Limits.Connections, s.Limits.LingerTime = 1, testTimeout })
	c := converse(t, r.addr, get("/"))
	in := bufio.NewReader(c)
	_, _, err := readResponse(in)
	require.NoError(t, err)
	idle := r.clock.now()
	eventually(t, "it has been idle for longer than capacityIdleTime", func() bool { return r.clock.now() > idle+int64(capacityIdleTime+capacityIdleTime/2) })

	io.WriteString(c, get("/"))
	_, _, err = readResponse(in)
	require.NoError(t, err, "house rule: idle connections are closed early only while clients wait (server.go, Serve)")

	sendAndRead(t, r.addr, "house rule: an idle connection makes room for a queued client", "server.go, waitForCapacity", get("/", closeField)).wantPrefix(t, "HTTP/1.1 200 OK\r\n")
}
