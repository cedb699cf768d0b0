package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/pool"
	"socketup/part4-pooling/server"
	"socketup/part4-pooling/socket"
)

// demo runs the experiments of part 4 on this machine's kernel, or only those of chapter 9.
func demo(stdout io.Writer, asJSON, onlyStreams bool) error {
	people, programs := audiences(stdout, asJSON)
	if onlyStreams {
		return demoStreams(people, programs)
	}
	t := newTimeline()
	t.experiment = "a stale connection"
	if err := staleReuse(t); err != nil {
		t.print(people, false)
		t.print(programs, true)
		return err
	}
	fmt.Fprint(people, "REUSE: 500 requests, one after the other, to a server in this process.\n\n")
	if err := compareReuse(people, programs); err != nil {
		return err
	}
	fmt.Fprintf(people, "\nA STALE CONNECTION: a server keeps idle ones for %v, and is paused longer.\n\n", serverIdleTime)
	t.print(people, false)
	t.print(programs, true)
	const rounds, calls = 6, 10
	fmt.Fprintf(people, "\nFOUR POLICIES: %d pauses each, and %d requests as soon as the server continues.\n\n", rounds, calls)
	failed, err := playPolicies(rounds, calls)
	if err != nil {
		return err
	}
	for i, p := range policies {
		color := green
		if failed[i] > 0 {
			color = red
		}
		count := fmt.Sprintf("%2d of %d requests failed", failed[i], rounds*calls)
		fmt.Fprintf(people, "  %-24s  %-4s  %s\n", p.name, p.method, paint(people, color, count))
		printJSON(programs, policyResult{"four policies", p.name, p.method, rounds * calls, failed[i]})
	}
	fmt.Fprint(people, "\nNo check can see a close that has not happened yet. If you pause a server, drop\n"+
		"its connections; a client that does not know of the pause retries, if the\n"+
		"request is idempotent. See notes/06-kept-connections.md.\n")
	if err := demoEngine(people, programs); err != nil {
		return err
	}
	fmt.Fprintln(people)
	return demoStreams(people, programs)
}

func demoEngine(people, programs io.Writer) error {
	fmt.Fprint(people, "\nAN ENGINE: the requests of one client share one connection to the backend.\n\n")
	if err := shareConnection(people, programs); err != nil {
		return err
	}
	fmt.Fprint(people, "\nIS IT WORTH IT? A client keeps 32 requests in flight; responses per second.\n\n")
	if err := compareEngine(people, programs); err != nil {
		return err
	}
	fmt.Fprint(people, "\nAn engine saves system calls: it wins when requests are cheap, or the backend\n"+
		"handles them concurrently. With a serial backend each request waits for all\n"+
		"those before it: use a pool there.\n")
	return nil
}

func demoStreams(people, programs io.Writer) error {
	t := newTimeline()
	t.experiment = "streams"
	err := shareStreams(t)
	fmt.Fprint(people, "STREAMS: two clients share one connection to a backend that speaks HTTP/2.\n\n")
	t.print(people, false)
	if t.print(programs, true); err != nil {
		return err
	}
	fmt.Fprint(people, "\nONE SLOW RESPONSE: the same requests, again on one connection; when each has\nits response.\n\n")
	if err := compareStreams(people, programs); err != nil {
		return err
	}
	fmt.Fprint(people, "\nTHE LAST ROW: a server that handles one request of a connection at a time over\nHTTP/1.1, and streams side by side; each takes 1 ms, a client has 32 in flight.\n\n")
	if err := compareRates(people, programs); err != nil {
		return err
	}
	fmt.Fprint(people, "\nA stream has a number: responses come in any order, clients share connections,\n"+
		"and one request can be given up alone. See notes/09-streams.md.\n")
	return nil
}

// A policyResult is how many requests failed with one policy.
type policyResult struct {
	Experiment string `json:"experiment"`
	Case       string `json:"case"`
	Method     string `json:"method"`
	Requests   int    `json:"requests"`
	Failed     int    `json:"failed"`
}

// playPolicies runs all policies concurrently, each against its own server.
func playPolicies(rounds, calls int) (failed []int, err error) {
	failed, errs := make([]int, len(policies)), make([]error, len(policies))
	var group sync.WaitGroup
	for i, p := range policies {
		group.Go(func() { failed[i], errs[i] = p.play(rounds, calls) })
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return failed, nil
}

// A reuseResult is what 500 requests cost.
type reuseResult struct {
	Experiment string  `json:"experiment"`
	Case       string  `json:"case"`
	US         float64 `json:"us_per_request"`
	Dialled    uint64  `json:"dialled"`
}

// compareReuse times requests on new connections and on a reused one.
func compareReuse(people, programs io.Writer) error {
	fd, err := socket.Listen("127.0.0.1:0", backlog)
	if err != nil {
		return err
	}
	addr := socket.LocalAddr(fd).String()
	s, err := server.New(fd, routes(), server.DefaultLimits, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	done := make(chan struct{})
	go func() { s.Serve(); close(done) }()
	defer func() { s.Stop(); <-done }()
	p := pool.New(pool.DefaultLimits)
	defer p.Close()
	before := uint64(0)
	for _, drop := range []bool{true, false} {
		const calls = 500
		began := time.Now()
		for range calls {
			if drop {
				p.DropAll(addr)
			}
			a, err := p.RoundTrip(context.Background(), addr, newRequest("GET", "/"), &client.DefaultTimeouts)
			if err != nil {
				return err
			}
			a.Close()
		}
		how := "on a reused connection"
		if drop {
			how = "each on a new connection"
		}
		made := p.Stats().Backends[0].Dialled
		us := float64(time.Since(began).Microseconds()) / calls
		fmt.Fprintf(people, "  %-24s  %5.0f µs per request, %d connections opened\n", how, us, made-before)
		printJSON(programs, reuseResult{"reuse", how, us, made - before})
		before = made
	}
	return nil
}
