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

	"socketup/part3-pipelining/server"
	"socketup/part3-pipelining/socket"
)

// Closing a listener resets the connections in its accept queue. So a server at
// capacity accepts them all first, as slots become free.
func TestStopOfAFullServerAnswersQueuedConnections(t *testing.T) {
	l := newLatches()
	r := startServer(t, func(s *server.Server) { s.Limits.Connections = 1 }, withHandler(l.handle))
	served := converse(t, r.addr, get("/served", closeField))
	receive(t, l.began, "one is served")
	paths := []string{"/1", "/2", "/3"}
	var waiting []*net.TCPConn
	for _, path := range paths {
		waiting = append(waiting, converse(t, r.addr, get(path, closeField)))
	}
	eventually(t, "the others are queued", func() bool { return socket.AcceptQueueLen(r.fd) == len(paths) })

	r.Stop()
	l.release("/served")

	rule := transcript{rule: "house rule: a stop loses no request", look: "drain.go, acceptQueued"}
	rule.readAll(served).wantPrefix(t, "HTTP/1.1 200 OK\r\n")
	for i, c := range waiting {
		l.release(paths[i])
		s := rule
		s.sent = get(paths[i], closeField)
		s = s.readAll(c)
		s.wantPrefix(t, "HTTP/1.1 200 OK\r\n")
		s.wantCleanEnd(t)
	}
	receive(t, r.done, "serve returns")
}

// A client that does not close after its response occupies a connection while
// the server lingers; a stopping server shortens that for the sake of the
// queued clients.
func TestStopLimitsLingeringWhileConnectionsAreQueued(t *testing.T) {
	t.Parallel()
	l := newLatches()
	r := startServer(t, func(s *server.Server) { s.Limits.Connections, s.Limits.LingerTime = 1, time.Hour }, withHandler(l.handle))
	converse(t, r.addr, get("/served")) // neither closes nor reads
	receive(t, l.began, "one is served")
	var waiting []*net.TCPConn
	for _, path := range []string{"/1", "/2", "/3"} {
		waiting = append(waiting, converse(t, r.addr, get(path)))
		l.release(path)
	}
	eventually(t, "the others are queued", func() bool { return socket.AcceptQueueLen(r.fd) == len(waiting) })

	r.Stop()
	l.release("/served")

	for _, c := range waiting {
		requireRead(t, c, transcript{rule: "house rule: a stop loses no request", look: "deadlines.go, checkDeadlines"}, "HTTP/1.1 200 OK\r\n")
	}
	for _, c := range waiting {
		c.Close()
	}
	receive(t, r.done, "serve returns")
}

// A stop waits for capacity for the clients that were queued when it began, not
// for clients that connect later: they could delay it for ever.
func TestNewConnectionsDoNotPreventAFullServerFromStopping(t *testing.T) {
	t.Parallel()
	r := startServer(t, func(s *server.Server) { s.Limits.Connections = 1 })
	var gone atomic.Bool
	var all sync.WaitGroup
	defer all.Wait()
	defer gone.Store(true)
	began := make(chan bool, 1)
	for range 20 {
		all.Go(func() { // one client after the other, until the server has stopped
			for !gone.Load() {
				c, err := net.DialTimeout("tcp", r.addr, 2*testTimeout) // a full queue ignores the SYN: try again
				if err != nil {
					continue
				}
				c.SetDeadline(time.Now().Add(maxWait))
				io.WriteString(c, get("/sleep/50ms", closeField))
				io.Copy(io.Discard, c)
				c.Close()
				select {
				case began <- true:
				default:
				}
			}
		})
	}
	receive(t, began, "clients connect and leave")

	r.Stop()

	receive(t, r.done, "serve returns (drain.go, acceptQueued)")
}

func TestSignalLosesNoRequestOfKeptConnections(t *testing.T) {
	t.Parallel()
	cmd, addr, _ := startServing(t)

	requireStopLosesNothing(t, cmd, addr, post("/echo", "a body"), "a body")
}

// A client that pipelines without end gets responses to all requests that were
// read when the server stops, and the last one says Connection: close.
func TestEndlessPipelineDoesNotPreventACleanStop(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]string{
		"GET": get("/sleep/1ms"), "POST": post("/echo", strings.Repeat("b", 10_000)),
		"POST of what looks like the end of a head": post("/echo", strings.Repeat("\r\n\r\n", 2_500)),
	} {
		for _, depth := range []int{1, 32} {
			r := startServer(t, func(s *server.Server) { s.Limits.Pipeline = depth })
			c := dial(t, r.addr)
			c.SetDeadline(time.Now().Add(2 * maxWait))
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
			receive(t, answered, "a hundred responses")

			r.Stop()

			last := receive(t, closes, "the connection ends")
			assert.True(t, last, "%s with -pipeline %d: the last response says Connection: close (conn.go, onEvent; takerequest.go, isLastBeforeStop)", name, depth)
			receive(t, r.done, "serve returns")
		}
	}
}
