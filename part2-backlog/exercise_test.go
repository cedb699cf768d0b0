//go:build exercise

package main

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The exercises of chapter 2. Run one with
//
//	go test -tags exercise -run TestExercise1 ./part2-backlog
//
// It fails until you have changed the program. Solutions are in solutions/.

// The server knows how many wait behind a client. It may say so, in a field
// that browsers show in their network panel: Server-Timing (W3C).
func TestExercise1ResponseSaysHowManyAreWaiting(t *testing.T) {
	r := startServer(t)
	first := dial(t, r.addr)
	var behind []net.Conn
	for range 3 {
		behind = append(behind, dial(t, r.addr))
	}
	eventually(t, "the first is in service and three wait", func() bool {
		q, err := readAcceptQueue(r.fd)
		return err == nil && q.Waiting == 3
	})
	first.Write([]byte(get))

	s := transcript{sent: get, rule: `Server-Timing: queue;desc="3 of 129"`, look: "server.go, response; queue_linux.go, readAcceptQueue"}.readAll(first)

	assert.Equal(t, `queue;desc="3 of 129"`, s.wantFramed(t).fields["server-timing"])
	for _, c := range behind {
		c.Close()
	}
}

// A name has several addresses, and the first may be silent. Let connect take a
// list, "a,b": each gets an equal share of the time that is left.
func TestExercise2ConnectTriesTheNextAddress(t *testing.T) {
	fd, full := startListening(t, "127.0.0.1:0", 0)
	connectTo(t, full) // and now its queue is full: a SYN gets no response
	r := startServer(t)

	began := time.Now()
	c, err := connect(t.Context(), full+","+r.addr, 400*time.Millisecond)

	require.NoError(t, err)
	assert.Equal(t, r.addr, peerOf(t, c))
	assert.GreaterOrEqual(t, time.Since(began), 200*time.Millisecond, "the first address has half of the time")
	unix.Close(c)

	_, err = connect(t.Context(), full+","+full, 100*time.Millisecond)
	assert.ErrorIs(t, err, ErrConnectTimeout)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = connect(ctx, full+","+r.addr, time.Minute)
	assert.ErrorIs(t, err, context.Canceled, "who is cancelled does not try the next")
	requireQueue(t, fd, 1, 0)
}

func peerOf(t testing.TB, fd int) string {
	t.Helper()
	sa, err := unix.Getpeername(fd)
	require.NoError(t, err)
	return addrPort(sa).String()
}

// Who waits long in the queue gets a response when nobody wants it any more. A
// server that is more than half full does better to say so at once: 503, and
// no work.
func TestExercise3OverloadedServerAnswers503AtOnce(t *testing.T) {
	r := startServer(t, func(s *server) { unix.Listen(s.fd, 4) })
	first := dial(t, r.addr)
	var queued []net.Conn
	for range 5 {
		c := dial(t, r.addr)
		c.Write([]byte(get))
		queued = append(queued, c)
	}
	eventually(t, "the first is in service and five wait", func() bool {
		q, err := readAcceptQueue(r.fd)
		return err == nil && q.Waiting == 5
	})
	first.Write([]byte(get))
	const rule, look = "RFC 9110 §15.6.4: 503 when there is too much to do", "server.go, answer"
	transcript{sent: get, rule: rule, look: look}.readAll(first).wantPrefix(t, "HTTP/1.1 503 Service Unavailable\r\n")

	for i, c := range queued { // behind them wait 4, 3, 2, 1, 0 of 5
		s := transcript{sent: get, rule: rule, look: look}.readAll(c)
		if i < 2 {
			s.wantPrefix(t, "HTTP/1.1 503 Service Unavailable\r\n")
		} else {
			s.wantPrefix(t, "HTTP/1.1 200 OK\r\n")
		}
		s.wantFramed(t)
	}
}
