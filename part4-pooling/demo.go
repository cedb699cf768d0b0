package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// demo plays the experiments of part 4 on this machine's kernel.
func demo(stdout io.Writer, asJSON bool) error {
	t := newTimeline()
	if err := staleReuse(t); err != nil || asJSON {
		t.print(stdout, asJSON)
		return err
	}
	fmt.Fprint(stdout, "REUSE: 500 calls, one after the other, to a server in this process.\n\n")
	if err := compareReuse(stdout); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "\nA STALE CONNECTION: a server that keeps idle connections for %v is paused for longer.\n\n", serverKeeps)
	t.print(stdout, false)
	const rounds, calls = 6, 10
	fmt.Fprintf(stdout, "\nFOUR POLICIES: %d pauses each, and %d calls the moment the server goes on.\n\n", rounds, calls)
	failed, err := allPolicies(rounds, calls)
	if err != nil {
		return err
	}
	for i, p := range policies {
		fmt.Fprintf(stdout, "  %-24s  %-4s  %2d of %d calls failed\n", p.name, p.method, failed[i], rounds*calls)
	}
	fmt.Fprint(stdout, "\nNo look can see a close that has not happened yet. Whoever pauses a server drops its connections;\n"+
		"whoever does not know of the pause tries again, if the call may be made twice.\n")
	fmt.Fprint(stdout, "\nAN ENGINE: the requests of one client share one connection to the backend.\n\n")
	if err := shareConnection(stdout); err != nil {
		return err
	}
	fmt.Fprint(stdout, "\nWHEN IT IS WORTH IT: a client with 32 requests on their way at any time; answers per second.\n\n")
	if err := compareEngine(stdout); err != nil {
		return err
	}
	fmt.Fprint(stdout, "\nAn engine saves system calls, so it wins when requests are cheap, or when the backend works side by side.\n"+
		"Before a backend that does one after the other it makes all wait for each: there a pool is right.\n")
	return nil
}

// allPolicies plays all policies at once, each with a server of its own.
func allPolicies(rounds, calls int) (failed []int, err error) {
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

// compareReuse times calls on new connections and on a kept one.
func compareReuse(stdout io.Writer) error {
	fd, err := listen("127.0.0.1:0", backlog)
	if err != nil {
		return err
	}
	addr := localAddr(fd).String()
	s, err := newServer(fd, routes(), defaults, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	done := make(chan struct{})
	go func() { s.serve(); close(done) }()
	defer func() { s.stop(); <-done }()
	p := newPool(poolDefaults)
	defer p.close()
	for _, drop := range []bool{true, false} {
		const calls = 500
		began := time.Now()
		for range calls {
			if drop {
				p.dropAll(addr)
			}
			a, err := p.roundTrip(context.Background(), addr, simple("GET", "/"), &usual)
			if err != nil {
				return err
			}
			a.close()
		}
		how := "on one that is kept"
		if drop {
			how = "each on a new connection"
		}
		fmt.Fprintf(stdout, "  %-24s  %5.0f µs per call, %d connections made so far\n",
			how, float64(time.Since(began).Microseconds())/calls, p.stats().Backends[0].Dialled)
	}
	return nil
}
