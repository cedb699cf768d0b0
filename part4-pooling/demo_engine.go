package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/pool"
	"socketup/part4-pooling/server"
	"socketup/part4-pooling/socket"
)

// The engine's experiments: a client of the gateway has many requests in
// flight, and the gateway forwards them to the backend on one connection, or on
// as many as its pool may open.

// A localServer is a server in this process that runs until close.
type localServer struct {
	*server.Server
	addr string
	done chan struct{}
}

func startLocalServer(h server.Handler, t server.Offloader) (*localServer, error) {
	fd, err := socket.Listen("127.0.0.1:0", backlog)
	if err != nil {
		return nil, err
	}
	l := &localServer{addr: socket.LocalAddr(fd).String(), done: make(chan struct{})}
	if l.Server, err = server.New(fd, h, server.DefaultLimits, slog.New(slog.DiscardHandler)); err != nil {
		return nil, err
	}
	l.Offloader = t
	go func() { l.Serve(); close(l.done) }() // until close
	return l, nil
}

func (l *localServer) close() { l.Stop(); <-l.done }

// A gatewayRig is a gateway in front of one backend, with a pool of its own.
type gatewayRig struct {
	*localServer
	gateway *gateway.Gateway
}

func startGatewayRig(backend gateway.Backend, connections int) (*gatewayRig, error) {
	limits := pool.DefaultLimits
	limits.PerBackend, limits.Total, limits.OneClient = connections, connections, true // the demo is the only client
	g := gateway.New(pool.New(limits), []gateway.Backend{backend})
	l, err := startLocalServer(g.Handler(routes()), g.OffloadOrReserve)
	return &gatewayRig{l, g}, err
}

func (s *gatewayRig) close() {
	s.localServer.close()
	s.gateway.Streams.Close()
	s.gateway.Pool.Close()
}

// An engineResult is what slow requests through an engine occupied.
type engineResult struct {
	Experiment  string `json:"experiment"`
	Slots       int    `json:"slots"`
	Handlers    int    `json:"handlers"`
	Requests    int64  `json:"requests"` // that the backend handled at the same time
	Connections int    `json:"connections"`
	MS          int64  `json:"ms"`
}

// shareConnection sends slow requests through an engine and prints what they
// occupy.
func shareConnection(people, programs io.Writer) error {
	const requests, work = 8, 200 * time.Millisecond
	var working atomic.Int64
	back, err := startLocalServer(func(w *server.Response, r *server.Request) {
		working.Add(1)
		time.Sleep(work)
		w.WriteString(string(r.Path) + "\n")
	}, nil)
	if err != nil {
		return err
	}
	defer back.close()
	s, err := startGatewayRig(gateway.Backend{Path: "/", Addr: back.addr, Engine: true}, 1)
	if err != nil {
		return err
	}
	defer s.close()
	c, err := dialRaw(s.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.roundTrips(getRequests(1, 1)); err != nil { // open the backend connection, and show that it persists
		return err
	}
	began, before := time.Now(), working.Load()
	fmt.Fprintf(people, "  a client sends %d requests in one write; each is %v of work\n", requests, work)
	if _, err := c.Write(getRequests(1, requests)); err != nil {
		return err
	}
	for working.Load() < before+requests && time.Since(began) < time.Second {
		time.Sleep(time.Millisecond)
	}
	slots, running := s.InFlight()
	result := engineResult{"an engine", slots, running, working.Load() - before, back.Connections(), 0}
	fmt.Fprintf(people, "  meanwhile in the gateway: %d slots wait for responses, %d handlers run\n", slots, running)
	fmt.Fprintf(people, "  the backend handles %d requests, on %d connection\n", result.Requests, result.Connections)
	bodies, err := c.readBodies(requests)
	if err != nil {
		return err
	}
	result.MS = time.Since(began).Milliseconds()
	fmt.Fprintf(people, "  after %d ms the client has the responses to %s\n", result.MS, strings.Join(bodies, " "))
	printJSON(programs, result)
	return nil
}

// A rateResult is how many responses per second a client gets from one backend.
type rateResult struct {
	Experiment string  `json:"experiment"`
	Case       string  `json:"case"`
	PoolOf1    float64 `json:"pool_of_1"`
	PoolOf32   float64 `json:"pool_of_32"`
	Engine     float64 `json:"engine"`
}

// compareEngine prints the table that shows when an engine is worth it:
// responses per second to a client that keeps 32 requests in flight.
func compareEngine(people, programs io.Writer) error {
	fmt.Fprintf(people, "  %-34s  %10s  %10s  %10s\n", "backend", "pool of 1", "pool of 32", "engine")
	for _, b := range []struct {
		name     string
		parallel bool
		work     time.Duration
	}{
		{"concurrent (part 3), no work", true, 0},
		{"concurrent (part 3), 1 ms each", true, time.Millisecond},
		{"serial (most servers), no work", false, 0},
		{"serial (most servers), 1 ms each", false, time.Millisecond},
	} {
		addr, stop, err := startBackend(b.parallel, b.work)
		if err != nil {
			return err
		}
		result := rateResult{Experiment: "is it worth it", Case: b.name}
		fmt.Fprintf(people, "  %-34s", b.name)
		for _, how := range []struct {
			connections int
			engine      bool
			rate        *float64
		}{{1, false, &result.PoolOf1}, {32, false, &result.PoolOf32}, {1, true, &result.Engine}} {
			rate, err := responsesPerSecond(gateway.Backend{Path: "/", Addr: addr, Engine: how.engine}, how.connections)
			if err != nil {
				return err
			}
			*how.rate = math.Round(rate)
			fmt.Fprintf(people, "  %10.0f", rate)
		}
		fmt.Fprintln(people)
		printJSON(programs, result)
		stop()
	}
	return nil
}

func responsesPerSecond(backend gateway.Backend, connections int) (float64, error) {
	const length, depth = 400 * time.Millisecond, 32
	s, err := startGatewayRig(backend, connections)
	if err != nil {
		return 0, err
	}
	defer s.close()
	c, err := dialRaw(s.addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	batch, n := getRequests(0, depth/2), 0
	if _, err := c.Write(batch); err != nil {
		return 0, err
	}
	began := time.Now()
	for ; time.Since(began) < length; n += depth / 2 { // half of the requests are in flight while the other half is answered
		if err := c.roundTrips(batch); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

// startBackend starts a backend that spends work on each request, concurrently
// or one request of a connection after the other. The caller calls stop.
func startBackend(parallel bool, work time.Duration) (addr string, stop func(), err error) {
	if parallel {
		l, err := startLocalServer(func(w *server.Response, _ *server.Request) {
			if work > 0 {
				time.Sleep(work)
			}
			w.WriteString("done\n")
		}, nil)
		if err != nil {
			return "", nil, err
		}
		return l.addr, l.close, nil
	}
	fd, err := socket.Listen("127.0.0.1:0", backlog)
	if err != nil {
		return "", nil, err
	}
	p, err := socket.NewFD(fd)
	if err != nil {
		return "", nil, err
	}
	go acceptEach(p, func(c socket.FD) { answerSerially(c, work) }) // until stop
	return socket.LocalAddr(fd).String(), func() { p.Close() }, nil
}

// acceptEach gives each connection a goroutine that calls serve, which closes it.
func acceptEach(listener socket.FD, serve func(socket.FD)) {
	for {
		fd, failed := -1, error(nil)
		err := listener.RawConn.Read(func(l uintptr) bool {
			fd, _, failed = socket.Accept(int(l))
			return failed != unix.EAGAIN
		})
		if err != nil {
			return
		}
		if failed != nil {
			continue
		}
		if c, err := socket.NewFD(fd); err == nil {
			go serve(c) // until its client closes
		}
	}
}

// answerSerially responds to requests without bodies, one after the other.
func answerSerially(c socket.FD, work time.Duration) {
	defer c.Close()
	var in, out []byte
	for buf := make([]byte, 32<<10); ; {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		in, out = append(in, buf[:n]...), out[:0]
		for end := http1.HeadLength(in, 0); end > 0; end = http1.HeadLength(in, 0) {
			if in = in[end:]; work > 0 {
				time.Sleep(work)
				c.Write([]byte(doneResponse))
				continue
			}
			out = append(out, doneResponse...)
		}
		c.Write(out)
	}
}

const doneResponse = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ndone\n"

// A rawClient is a connection that sends bytes and reads only bodies.
type rawClient struct {
	socket.FD
	buf []byte
}

func dialRaw(addr string) (*rawClient, error) {
	p, err := client.Connect(context.Background(), addr, client.DefaultTimeouts.Connect)
	return &rawClient{FD: p}, err
}

// getRequests returns n GET requests, for /first, /first+1 and so on.
func getRequests(first, n int) (b []byte) {
	for i := range n {
		b = fmt.Appendf(b, "GET /%d HTTP/1.1\r\nHost: socket.up\r\n\r\n", first+i)
	}
	return b
}

// roundTrips sends requests in one write and reads one response for each.
func (t *rawClient) roundTrips(requests []byte) error {
	if _, err := t.Write(requests); err != nil {
		return err
	}
	_, err := t.readBodies(bytes.Count(requests, []byte("\r\n\r\n")))
	return err
}

// readBodies reads n responses, each with a Content-Length, and returns their
// bodies without surrounding space.
func (t *rawClient) readBodies(n int) (all []string, err error) {
	buf := make([]byte, 32<<10)
	for len(all) < n {
		var h http1.ResponseHead
		end := http1.HeadLength(t.buf, 0)
		if end > 0 {
			if err := h.Parse(t.buf[:end], []byte("GET")); err != nil {
				return nil, err
			} else if h.Status != 200 || h.Length < 0 {
				return nil, fmt.Errorf("got %q", t.buf[:end])
			}
		}
		if end > 0 && len(t.buf) >= end+int(h.Length) {
			all = append(all, strings.TrimSpace(string(t.buf[end:end+int(h.Length)])))
			t.buf = t.buf[end+int(h.Length):]
			continue
		}
		got, err := t.Read(buf)
		if err != nil {
			return nil, err
		}
		t.buf = append(t.buf, buf[:got]...)
	}
	return all, nil
}
