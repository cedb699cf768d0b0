package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/server"
)

// The experiments of the streams: two clients of the gateway share one connection to the
// backend, which speaks HTTP/2.

const slowPath, fastPath = "/sleep/1000", "/sleep/20"

// A demoClient is a client that records what it sends and gets.
type demoClient struct {
	*rawClient
	name string
	t    *timeline
}

func dialDemo(addr, name string, t *timeline) (*demoClient, error) {
	c, err := dialRaw(addr)
	return &demoClient{c, name, t}, err
}

// ask sends requests in one write.
func (c *demoClient) ask(paths ...string) error {
	var b []byte
	for _, p := range paths {
		b = fmt.Appendf(b, "GET %s HTTP/1.1\r\nHost: socket.up\r\n\r\n", p)
	}
	_, err := c.Write(b)
	c.t.record(time.Now(), c.name, "asks for "+strings.Join(paths, " "), "server")
	return err
}

// readUntil reads n responses, and says what it has after the last.
func (c *demoClient) readUntil(n int) error {
	bodies, err := c.readBodies(n)
	c.t.record(time.Now(), c.name, "has "+strings.Join(bodies, " "), "")
	return err
}

// leave closes the connection like a program that has crashed: with a reset.
func (c *demoClient) leave() {
	unix.SetsockoptLinger(c.Sysfd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	c.t.record(time.Now(), c.name, "leaves, and does not wait for "+slowPath, "")
	c.Close()
}

// shareStreams sends eight requests of two clients on one connection, and has one client
// leave before its slow response.
func shareStreams(t *timeline) error {
	back, err := startH2Backend(0)
	if err != nil {
		return err
	}
	defer back.close()
	s, err := startGatewayRig(gateway.Backend{Path: "/", Addr: back.addr, Engine: true, HTTP2: true}, 1)
	if err != nil {
		return err
	}
	defer s.close()
	a, err := dialDemo(s.addr, "client A", t)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := dialDemo(s.addr, "client B", t)
	if err != nil {
		return err
	}
	defer b.Close()
	note := func(what string) { t.record(time.Now(), "server", what, "") }

	if err := a.ask(fastPath, fastPath, fastPath, slowPath); err != nil {
		return err
	}
	if err := b.ask(fastPath, fastPath, fastPath, fastPath); err != nil {
		return err
	}
	if err := await(func() bool { return back.requests.Load() == 8 }); err != nil {
		return err
	}
	note(fmt.Sprintf("works on 8 requests, streams 1 to 15 of %d connection", back.connected.Load()))
	if err := b.readUntil(4); err != nil {
		return err
	}
	if err := a.readUntil(3); err != nil {
		return err
	}
	a.leave()
	select {
	case id := <-back.cancelled:
		note(fmt.Sprintf("gets RST_STREAM (CANCEL) for stream %d, and stops working on it", id))
	case <-time.After(demoPatience):
		return fmt.Errorf("the backend was not told that a client has left")
	}
	if err := b.ask(fastPath); err != nil {
		return err
	}
	if err := b.readUntil(1); err != nil {
		return err
	}
	note(fmt.Sprintf("has seen %d requests on %d connection", back.requests.Load(), back.connected.Load()))
	return nil
}

const demoPatience = 5 * time.Second // of the demo, for what takes milliseconds

// await waits until done returns true.
func await(done func() bool) error {
	for began := time.Now(); !done(); time.Sleep(time.Millisecond) {
		if time.Since(began) > demoPatience {
			return fmt.Errorf("waited %v in vain", demoPatience)
		}
	}
	return nil
}

// A responseResult is when a client has one response.
type responseResult struct {
	Experiment string `json:"experiment"`
	Client     string `json:"client"`
	Path       string `json:"path"`
	EnginesMS  int64  `json:"engines_ms"`
	StreamsMS  int64  `json:"streams_ms"`
}

// compareStreams prints when each of eight requests has its response, if the gateway has one
// connection to its backend: over HTTP/1.1, with engines, and over HTTP/2.
func compareStreams(people, programs io.Writer) error {
	old, err := startLocalServer(func(w *server.Response, r *server.Request) {
		time.Sleep(workOf(string(r.Path), 0))
		w.WriteString(string(r.Path) + "\n")
	}, nil)
	if err != nil {
		return err
	}
	defer old.close()
	streams, err := startH2Backend(0)
	if err != nil {
		return err
	}
	defer streams.close()
	var took [2][8]time.Duration
	for i, b := range []gateway.Backend{
		{Path: "/", Addr: old.addr, Engine: true},
		{Path: "/", Addr: streams.addr, Engine: true, HTTP2: true},
	} {
		if took[i], err = timeResponses(b); err != nil {
			return err
		}
	}
	fmt.Fprintf(people, "  %-22s  %16s  %16s\n", "", "HTTP/1.1 engines", "HTTP/2 streams")
	for i := range took[0] {
		name, path := "client A", fastPath
		if i == 3 {
			path = slowPath
		}
		if i > 3 {
			name = "client B"
		}
		engines, streams := took[0][i].Milliseconds(), took[1][i].Milliseconds()
		fmt.Fprintf(people, "  %-8s  %-12s  %13d ms  %13d ms\n", name, path, engines, streams)
		printJSON(programs, responseResult{"one slow response", name, path, engines, streams})
	}
	return nil
}

// timeResponses sends the eight requests, and returns when each had its response.
func timeResponses(backend gateway.Backend) (took [8]time.Duration, err error) {
	s, err := startGatewayRig(backend, 1)
	if err != nil {
		return took, err
	}
	defer s.close()
	began := time.Now()
	read := func(c *rawClient, into []time.Duration) error {
		for i := range into {
			if _, err := c.readBodies(1); err != nil {
				return err
			}
			into[i] = time.Since(began)
		}
		return nil
	}
	quiet := newTimeline()
	a, err := dialDemo(s.addr, "client A", quiet)
	if err != nil {
		return took, err
	}
	defer a.Close()
	b, err := dialDemo(s.addr, "client B", quiet)
	if err != nil {
		return took, err
	}
	defer b.Close()
	if err := a.ask(fastPath, fastPath, fastPath, slowPath); err != nil {
		return took, err
	}
	if err := await(func() bool { slots, _ := s.InFlight(); return slots == 4 }); err != nil { // A is first
		return took, err
	}
	if err := b.ask(fastPath, fastPath, fastPath, fastPath); err != nil {
		return took, err
	}
	done := make(chan error, 1)
	go func() { done <- read(b.rawClient, took[4:]) }()
	err = read(a.rawClient, took[:4])
	if other := <-done; err == nil {
		err = other
	}
	return took, err
}

// A rowResult is how many responses per second a client gets in one way.
type rowResult struct {
	Experiment string  `json:"experiment"`
	Case       string  `json:"case"`
	Rate       float64 `json:"rate"`
}

// compareRates prints the row of compareEngine that an engine over HTTP/1.1 loses, and what
// becomes of it over HTTP/2.
func compareRates(people, programs io.Writer) error {
	const work = time.Millisecond
	serial, stop, err := startBackend(false, work)
	if err != nil {
		return err
	}
	defer stop()
	back, err := startH2Backend(work)
	if err != nil {
		return err
	}
	defer back.close()
	for _, how := range []struct {
		name        string
		connections int
		backend     gateway.Backend
	}{
		{"HTTP/1.1, a pool of 32 connections", 32, gateway.Backend{Path: "/", Addr: serial}},
		{"HTTP/1.1, an engine, 1 connection", 1, gateway.Backend{Path: "/", Addr: serial, Engine: true}},
		{"HTTP/2, 1 connection", 1, gateway.Backend{Path: "/", Addr: back.addr, Engine: true, HTTP2: true}},
	} {
		rate, err := responsesPerSecond(how.backend, how.connections)
		if err != nil {
			return err
		}
		fmt.Fprintf(people, "  %-36s  %8.0f responses per second\n", how.name, rate)
		printJSON(programs, rowResult{"the last row", how.name, math.Round(rate)})
	}
	return nil
}
