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
	fmt.Fprintf(stdout, "\nA STALE CONNECTION: a server that keeps idle ones %v is paused for longer.\n\n", serverIdleTime)
	t.print(stdout, false)
	const rounds, calls = 6, 10
	fmt.Fprintf(stdout, "\nFOUR POLICIES: %d pauses each, and %d calls the moment the server goes on.\n\n", rounds, calls)
	failed, err := playPolicies(rounds, calls)
	if err != nil {
		return err
	}
	for i, p := range policies {
		fmt.Fprintf(stdout, "  %-24s  %-4s  %2d of %d calls failed\n", p.name, p.method, failed[i], rounds*calls)
	}
	fmt.Fprint(stdout, "\nNo look can see a close that has not happened yet. Whoever pauses a server drops\n"+
		"its connections; whoever does not know of the pause tries again, if the call may\n"+
		"be made twice. notes/04-pooling.md tells the story.\n")
	return demoEngine(stdout)
}

func demoEngine(stdout io.Writer) error {
	fmt.Fprint(stdout, "\nAN ENGINE: the requests of one client share one connection to the backend.\n\n")
	if err := shareConnection(stdout); err != nil {
		return err
	}
	fmt.Fprint(stdout, "\nIS IT WORTH IT? A client has 32 requests on their way; answers per second.\n\n")
	if err := compareEngine(stdout); err != nil {
		return err
	}
	fmt.Fprint(stdout, "\nAn engine saves system calls: it wins when requests are cheap, or the backend\n"+
		"works side by side. Before one that works one by one it makes all wait for each:\n"+
		"there a pool is right.\n")
	return nil
}

// playPolicies plays all policies at once, each with a server of its own.
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

// compareReuse times calls on new connections and on a kept one.
func compareReuse(stdout io.Writer) error {
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
		how := "on one that is kept"
		if drop {
			how = "each on a new connection"
		}
		made := p.Stats().Backends[0].Dialled
		fmt.Fprintf(stdout, "  %-24s  %5.0f µs per call, %d connections made\n",
			how, float64(time.Since(began).Microseconds())/calls, made-before)
		before = made
	}
	return nil
}
