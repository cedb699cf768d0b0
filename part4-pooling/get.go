package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/engine"
	"socketup/part4-pooling/pool"
)

// The verb get: a client on top of the pool, for one URL after another or, with
// -callers, for as many requests per second as possible.

// fetch gets URLs through a pool, one after the other, and prints status, size,
// time and connection of each: what reuse is worth. It returns an error if any
// URL could not be fetched.
func fetch(stdout io.Writer, urls []string, times int, bodies bool) error {
	p := pool.New(pool.DefaultLimits)
	defer p.Close()
	var failed error
	for range times {
		for _, u := range urls {
			if err := fetchOne(stdout, p, u, bodies); err != nil {
				printFetched(stdout, u, err.Error())
				failed = errors.New("not every URL could be fetched")
			}
		}
	}
	for _, b := range p.Stats().Backends {
		fmt.Fprintf(stdout, "%s: %d connections opened, %d requests on a reused one\n", b.Addr, b.Dialled, b.Reused)
	}
	return failed
}

func fetchOne(stdout io.Writer, p *pool.Pool, rawURL string, bodies bool) error {
	u, err := client.ParseURL(rawURL)
	if err != nil {
		return err
	}
	began := time.Now()
	c := &client.Request{Method: []byte("GET"), Target: []byte(u.Target), Host: []byte(u.Host)}
	a, err := p.RoundTrip(context.Background(), u.Addr, c, &client.DefaultTimeouts)
	if err != nil {
		return err
	}
	defer a.Close()
	into, how := io.Discard, "a new connection"
	if bodies {
		into = stdout
	}
	if a.Conn.Requests > 1 {
		how = fmt.Sprintf("a reused connection (request %d)", a.Conn.Requests)
	}
	n, err := io.Copy(into, struct{ io.Reader }{a})
	printFetched(stdout, rawURL, fmt.Sprintf("%d %s, %d bytes in %.1f ms on %s", a.Status, a.Reason, n, time.Since(began).Seconds()*1e3, how))
	return err
}

// printFetched prints what became of url, on a line of its own if both do not fit in one.
func printFetched(stdout io.Writer, url, what string) {
	if line := fmt.Sprintf("%-32s  %s", url, what); utf8.RuneCountInString(line) <= columns {
		fmt.Fprintln(stdout, line)
		return
	}
	fmt.Fprintln(stdout, wrap(url+"\n    "+what, "    "))
}

// benchmark requests one URL from callers goroutines for the duration length,
// and prints the rate and the CPU time of one request. The goroutines share a
// pool, or with one true a single pipelined connection.
func benchmark(stdout io.Writer, rawURL string, callers int, length time.Duration, one bool) error {
	u, err := client.ParseURL(rawURL)
	if err != nil {
		return err
	}
	limits := pool.DefaultLimits
	limits.PerBackend, limits.Queue = 32, 0 // all callers are this program's own: each may wait, however many there are
	p := pool.New(limits)
	defer p.Close()
	call := func(c *client.Request) error { return benchmarkOnce(p, u.Addr, c) }
	if one {
		l, err := client.Dial(context.Background(), u.Addr, client.DefaultTimeouts.Connect)
		if err != nil {
			return err
		}
		line := engine.NewPipeline(l, client.DefaultTimeouts)
		defer line.Close()
		call = line.Do
	}
	var made, failed atomic.Int64
	var group sync.WaitGroup
	began := time.Now()
	for range callers {
		group.Go(func() {
			c := newRequest("GET", u.Target)
			c.Host = []byte(u.Host)
			for time.Since(began) < length {
				if call(c) != nil {
					failed.Add(1)
				}
				made.Add(1)
			}
		})
	}
	group.Wait()
	calls, took := float64(made.Load()), time.Since(began).Seconds()
	fmt.Fprintf(stdout, "%.0f calls per second by %d callers, %.0f ns of CPU for each, %d failed\n", calls/took, callers, cpuTime()/calls, failed.Load())
	return nil
}

func benchmarkOnce(p *pool.Pool, addr string, c *client.Request) error {
	a, err := p.RoundTrip(context.Background(), addr, c, &client.DefaultTimeouts)
	if err != nil {
		return err
	}
	defer a.Close()
	for err == nil {
		_, err = a.Next()
	}
	if err != io.EOF {
		return err
	}
	return nil
}

// cpuTime returns the CPU time this process has used, in nanoseconds:
// getrusage(2).
func cpuTime() float64 {
	var r unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &r)
	return float64(r.Utime.Nano() + r.Stime.Nano())
}
