package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/engine"
	"socketup/part4-pooling/pool"
)

// fetch gets URLs through a pool, one after the other, and says for each which
// connection it came on: where time goes, and what reuse is worth.
func fetch(stdout io.Writer, urls []string, times int, bodies bool) error {
	p := pool.New(pool.DefaultLimits)
	defer p.Close()
	var failed error
	for range times {
		for _, u := range urls {
			if err := fetchOne(stdout, p, u, bodies); err != nil {
				fmt.Fprintf(stdout, "%-32s  %v\n", u, err)
				failed = errors.New("not every URL could be fetched")
			}
		}
	}
	for _, b := range p.Stats().Backends {
		fmt.Fprintf(stdout, "%s: %d connections made, %d calls on one that was there\n", b.Addr, b.Dialled, b.Reused)
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
		how = fmt.Sprintf("the connection's call %d", a.Conn.Requests)
	}
	n, err := io.Copy(into, struct{ io.Reader }{a})
	fmt.Fprintf(stdout, "%-32s  %d %s, %d bytes in %.1f ms on %s\n", rawURL, a.Status, a.Reason, n, time.Since(began).Seconds()*1e3, how)
	return err
}

// benchmark makes calls to one URL from callers at once for as long as length, and
// prints how many there were in a second, and what one cost. The callers share
// a pool, or one connection.
func benchmark(stdout io.Writer, rawURL string, callers int, length time.Duration, one bool) error {
	u, err := client.ParseURL(rawURL)
	if err != nil {
		return err
	}
	limits := pool.DefaultLimits
	limits.PerBackend, limits.Queue = 32, 0 // it is its own gateway: callers wait for a connection, however many there are
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

// cpuTime is what this process has used, in nanoseconds.
func cpuTime() float64 {
	var r unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &r)
	return float64(r.Utime.Nano() + r.Stime.Nano())
}
