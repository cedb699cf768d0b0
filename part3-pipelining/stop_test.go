package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Closing a listener resets the connections in its queue. A server that is full
// takes them in all the same, one after the other.
func TestStopOfAFullServerAnswersWhoIsQueued(t *testing.T) {
	l := newLatches()
	r := start(t, func(s *server) { s.limits.connections = 1 }, with(l.handle))
	served := converse(t, r.addr, get("/served", closing))
	soon(t, l.began, "one is served")
	paths := []string{"/1", "/2", "/3"}
	var waiting []*net.TCPConn
	for _, path := range paths {
		waiting = append(waiting, converse(t, r.addr, get(path, closing)))
	}
	eventually(t, "the others are queued", func() bool { return queued(r.listener.fd) == len(paths) })

	r.stop()
	l.release("/served")

	rule := story{rule: "house rule: a stop loses no request", look: "drain.go, takeIn"}
	rule.hear(served).begins(t, "HTTP/1.1 200 OK\r\n")
	for i, c := range waiting {
		l.release(paths[i])
		s := rule
		s.sent = get(paths[i], closing)
		s = s.hear(c)
		s.begins(t, "HTTP/1.1 200 OK\r\n")
		s.endsCleanly(t)
	}
	soon(t, r.done, "serve returns")
}

// A stop waits for room for those that were queued when it began, and not for
// everybody who comes meanwhile: they could keep it from ending.
func TestNewcomersDoNotKeepAFullServerFromStopping(t *testing.T) {
	t.Parallel()
	r := start(t, func(s *server) { s.limits.connections = 1 })
	var gone atomic.Bool
	var all sync.WaitGroup
	defer all.Wait()
	defer gone.Store(true)
	began := make(chan bool, 1)
	for range 20 {
		all.Go(func() { // one client after the other, until the server is gone
			for !gone.Load() {
				c, err := net.DialTimeout("tcp", r.addr, 2*short) // a queue that is full ignores it: try anew
				if err != nil {
					continue
				}
				c.SetDeadline(time.Now().Add(limit))
				io.WriteString(c, get("/sleep/50ms", closing))
				io.Copy(io.Discard, c)
				c.Close()
				select {
				case began <- true:
				default:
				}
			}
		})
	}
	soon(t, began, "clients come and go")

	r.stop()

	soon(t, r.done, "serve returns (drain.go, takeIn)")
}

// Idle for long or not: a client that asks once more within the last call is
// answered, and told that this was it.
func TestWhoAsksWithinTheLastCallIsAnswered(t *testing.T) {
	for attempt := 1; ; attempt++ {
		r := start(t)
		c := converse(t, r.addr, get("/"))
		in := bufio.NewReader(c)
		_, _, err := readResponse(in)
		require.NoError(t, err)
		idle := r.clock.now()
		eventually(t, "it has been idle for longer than a last call", func() bool { return r.clock.now() > idle+2*int64(lastCall) })

		began := time.Now()
		r.stop()
		eventually(t, "the server has heard of it", func() bool { return r.stopped.Load() != 0 })
		time.Sleep(lastCall / 2) // the request is on its way
		_, err = io.WriteString(c, get("/"))
		if took := time.Since(began); took > lastCall && attempt < 20 {
			continue // this machine had no time for us: that was too late to count
		}

		require.NoError(t, err)
		s := story{sent: get("/"), rule: "house rule: a stop loses no request", look: "server.go, until"}
		got, _ := io.ReadAll(in)
		s.got = string(got)
		a := s.replies(t, "GET")
		assert.Equal(t, "200 OK", a[0].status)
		assert.Equal(t, "close", a[0].fields["connection"], "the client need not guess that this was its last answer")
		return
	}
}

// Time is up, and the request is there, but the loop has not looked yet.
func TestRequestThatHasComeEndsNoIdleConnection(t *testing.T) {
	r := start(t)
	c := converse(t, r.addr, get("/"))
	in := bufio.NewReader(c)
	_, _, err := readResponse(in)
	require.NoError(t, err)

	r.each(func(front *transport) { // with the lock, so the loop cannot
		io.WriteString(c, get("/", closing))
		eventually(t, "the kernel has the request", func() bool {
			ask := []unix.PollFd{{Fd: int32(front.fd), Events: unix.POLLIN}}
			n, _ := unix.Poll(ask, 0)
			return n == 1
		})
		front.since, front.answered = -int64(time.Hour), -int64(time.Hour)
		front.tick()
		front.act()
	})

	status, _, err := readResponse(in)
	require.NoError(t, err, "house rule: what has come in time is answered (deadlines.go, endIdle)")
	assert.Equal(t, "200 OK", status)
}

func TestSignalLosesNoRequestOfKeptConnections(t *testing.T) {
	cmd, addr, _ := serving(t)

	stopLosesNothing(t, cmd, addr, post("/echo", "a body"), "a body")
}

// A client that pipelines without end has answers to all that was read when the
// server stops, and the last one says so.
func TestEndlessPipelineDoesNotPreventACleanStop(t *testing.T) {
	for name, request := range map[string]string{
		"GET": get("/sleep/1ms"), "POST": post("/echo", strings.Repeat("b", 10_000)),
		"POST of what looks like the end of a head": post("/echo", strings.Repeat("\r\n\r\n", 2_500)),
	} {
		for _, depth := range []int{1, 32} {
			r := start(t, func(s *server) { s.limits.pipeline = depth })
			c := dial(t, r.addr)
			c.SetDeadline(time.Now().Add(2 * limit))
			batch := strings.Repeat(request, 100)
			go func() { // ends when the server closes
				for _, err := io.WriteString(c, batch); err == nil; _, err = io.WriteString(c, batch) {
				}
			}()
			in := bufio.NewReaderSize(c, 1<<20)
			closes := make(chan bool, 1)
			answered := make(chan bool, 1)
			go func() { // ends when the server closes
				last := false
				for n := 0; ; n++ {
					a, err := http.ReadResponse(in, nil)
					if err == nil {
						_, err = io.Copy(io.Discard, a.Body)
					}
					if err != nil {
						c.Close()
						closes <- last
						return
					}
					if last = a.Close; n == 100 {
						answered <- true
					}
				}
			}()
			soon(t, answered, "a hundred answers")

			r.stop()

			last := soon(t, closes, "the connection ends")
			assert.True(t, last, "%s with -pipeline %d: the last answer says Connection: close (conn.go, hear and receive)", name, depth)
			soon(t, r.done, "serve returns")
		}
	}
}

// All connections taken, and nobody waits: that is no crowd, and an idle
// connection may stay as long as ever. When one does wait, it has to go.
func TestFullServerWithNobodyQueuedHurriesNobody(t *testing.T) {
	t.Parallel()
	r := start(t, func(s *server) { s.limits.connections = 1 })
	c := converse(t, r.addr, get("/"))
	in := bufio.NewReader(c)
	_, _, err := readResponse(in)
	require.NoError(t, err)
	idle := r.clock.now()
	eventually(t, "it has been idle for longer than a crowd lets it", func() bool { return r.clock.now() > idle+int64(crowded+crowded/2) })

	io.WriteString(c, get("/"))
	_, _, err = readResponse(in)
	require.NoError(t, err, "house rule: idle clients are hurried for those that wait (server.go, serve)")

	tell(t, r.addr, "house rule: who is idle makes room", "server.go, waitForRoom", get("/", closing)).begins(t, "HTTP/1.1 200 OK\r\n")
}
