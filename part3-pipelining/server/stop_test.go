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

// Idle for long or not: a client that asks once more within the last call is
// answered, and told that this was it.
func TestRequestWithinTheDrainIdleTimeIsAnswered(t *testing.T) {
	for attempt := 1; ; attempt++ {
		r := startServer(t)
		c := converse(t, r.addr, get("/"))
		in := bufio.NewReader(c)
		_, _, err := readResponse(in)
		require.NoError(t, err)
		idle := r.clock.now()
		eventually(t, "it has been idle for longer than a last call", func() bool { return r.clock.now() > idle+2*int64(drainIdleTime) })

		began := time.Now()
		r.Stop()
		eventually(t, "the server has heard of it", func() bool { return r.stoppedAt.Load() != 0 })
		time.Sleep(drainIdleTime / 2) // the request is on its way
		_, err = io.WriteString(c, get("/"))
		if took := time.Since(began); took > drainIdleTime && attempt < 20 {
			continue // this machine had no time for us: that was too late to count
		}

		require.NoError(t, err)
		s := transcript{sent: get("/"), rule: "house rule: a stop loses no request", look: "server.go, waitDeadline"}
		got, _ := io.ReadAll(in)
		s.got = string(got)
		a := s.parseAll(t, "GET")
		assert.Equal(t, "200 OK", a[0].status)
		assert.Equal(t, "close", a[0].fields["connection"], "the client need not guess that this was its last answer")
		return
	}
}

// Time is up, and the request is there, but the loop has not looked yet.
func TestConnectionWithAnUnreadRequestIsNotIdle(t *testing.T) {
	r := startServer(t)
	c := converse(t, r.addr, get("/"))
	in := bufio.NewReader(c)
	_, _, err := readResponse(in)
	require.NoError(t, err)

	r.forEachConn(func(front *transport) { // with the lock, so the loop cannot
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
	require.NoError(t, err, "house rule: what has come in time is answered (deadlines.go, endIdle)")
	assert.Equal(t, "200 OK", status)
}

// All connections taken, and nobody waits: that is no crowd, and an idle
// connection may stay as long as ever. When one does wait, it has to go.
func TestFullServerWithAnEmptyQueueClosesNoIdleConnection(t *testing.T) {
	t.Parallel()
	r := startServer(t, func(s *Server) { s.Limits.Connections = 1 })
	c := converse(t, r.addr, get("/"))
	in := bufio.NewReader(c)
	_, _, err := readResponse(in)
	require.NoError(t, err)
	idle := r.clock.now()
	eventually(t, "it has been idle for longer than a crowd lets it", func() bool { return r.clock.now() > idle+int64(capacityIdleTime+capacityIdleTime/2) })

	io.WriteString(c, get("/"))
	_, _, err = readResponse(in)
	require.NoError(t, err, "house rule: idle clients are hurried for those that wait (server.go, serve)")

	sendAndRead(t, r.addr, "house rule: who is idle makes room", "server.go, waitForCapacity", get("/", closeField)).wantPrefix(t, "HTTP/1.1 200 OK\r\n")
}
