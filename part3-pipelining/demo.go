package main

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	"socketup/part3-pipelining/server"
	"socketup/part3-pipelining/socket"
)

// demo runs the experiments of part 3 against a server in this process.
func demo(stdout io.Writer, asJSON bool) error {
	people, programs := audiences(stdout, asJSON)
	t := newTimeline()
	t.experiment = "order"
	err := withServer(t, func(addr string) error {
		return sendPipelined(t, addr, []string{"/sleep/300ms", "/", "/stream/2", "/sleep/100ms"})
	})
	t.print(programs, true)
	fmt.Fprint(people, "ORDER: four requests in one write. Handlers end in any order, responses do not.\n\n")
	t.print(people, false)
	if err != nil {
		return err
	}
	fmt.Fprint(people, "\nTIME: eight requests that take 100 ms each, on one connection.\n\n")
	return withServer(newTimeline(), func(addr string) error { return compareTimes(people, programs, addr) })
}

// withServer calls f with the address of a server whose handlers record on t
// when they begin and end, and stops the server afterwards.
func withServer(t *timeline, f func(addr string) error) error {
	fd, err := socket.Listen("127.0.0.1:0", backlog)
	if err != nil {
		return err
	}
	addr, inner := socket.LocalAddr(fd).String(), routes()
	s, err := server.New(fd, func(w *server.Response, r *server.Request) {
		t.record(time.Now(), "server", "begins GET "+string(r.Path), "")
		inner(w, r)
		t.record(time.Now(), "server", "is done with GET "+string(r.Path), "")
	}, server.DefaultLimits, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	done := make(chan struct{})
	go func() { s.Serve(); close(done) }()
	defer func() { s.Stop(); <-done }()
	return f(addr)
}

// A timeResult is how long eight requests take.
type timeResult struct {
	Experiment string `json:"experiment"`
	Case       string `json:"case"`
	MS         int64  `json:"ms"`
}

// compareTimes sends eight slow requests one after the other, then pipelined,
// and prints both times.
func compareTimes(people, programs io.Writer, addr string) error {
	const slow = "/sleep/100ms"
	var paths []string
	begin := time.Now()
	for range 8 {
		paths = append(paths, slow)
		if err := sendPipelined(newTimeline(), addr, []string{slow}); err != nil {
			return err
		}
	}
	oneByOne := time.Since(begin)
	begin = time.Now()
	err := sendPipelined(newTimeline(), addr, paths)
	pipelined := time.Since(begin)
	fmt.Fprintf(people, "  one after the other   %4d ms   the sum\n  pipelined             %4d ms   the slowest\n",
		oneByOne.Milliseconds(), pipelined.Milliseconds())
	printJSON(programs, timeResult{"time", "one after the other", oneByOne.Milliseconds()})
	printJSON(programs, timeResult{"time", "pipelined", pipelined.Milliseconds()})
	return err
}
