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
)

// fetch gets URLs through a pool, one after the other, and says for each which
// connection it came on: where time goes, and what reuse is worth.
func fetch(stdout io.Writer, urls []string, times int, bodies bool) error {
	p := newPool(poolDefaults)
	defer p.close()
	var failed error
	for range times {
		for _, u := range urls {
			if err := fetchOne(stdout, p, u, bodies); err != nil {
				fmt.Fprintf(stdout, "%-32s  %v\n", u, err)
				failed = errors.New("not every URL could be fetched")
			}
		}
	}
	for _, b := range p.stats().Backends {
		fmt.Fprintf(stdout, "%s: %d connections made, %d calls on one that was there\n", b.Addr, b.Dialled, b.Reused)
	}
	return failed
}

func fetchOne(stdout io.Writer, p *pool, rawURL string, bodies bool) error {
	u, err := parseURL(rawURL)
	if err != nil {
		return err
	}
	began := time.Now()
	c := &call{method: []byte("GET"), target: []byte(u.target), host: []byte(u.host)}
	a, err := p.roundTrip(context.Background(), u.addr, c, &usual)
	if err != nil {
		return err
	}
	defer a.close()
	into, how := io.Discard, "a new connection"
	if bodies {
		into = stdout
	}
	if a.l.uses > 1 {
		how = fmt.Sprintf("the connection's call %d", a.l.uses)
	}
	n, err := io.Copy(into, struct{ io.Reader }{a})
	fmt.Fprintf(stdout, "%-32s  %d %s, %d bytes in %.1f ms on %s\n", rawURL, a.status, a.reason, n, time.Since(began).Seconds()*1e3, how)
	return err
}

// press makes calls to one URL from callers at once for as long as length, and
// prints how many there were in a second, and what one cost. The callers share
// a pool, or one connection.
func press(stdout io.Writer, rawURL string, callers int, length time.Duration, one bool) error {
	u, err := parseURL(rawURL)
	if err != nil {
		return err
	}
	p := newPool(poolDefaults)
	defer p.close()
	call := func(c *call) error { return pressOnce(p, u.addr, c) }
	if one {
		l, err := dialHost(context.Background(), u.addr, usual.connect)
		if err != nil {
			return err
		}
		line := newPipeline(l, usual)
		defer line.close()
		call = line.get
	}
	var made, failed atomic.Int64
	var group sync.WaitGroup
	began := time.Now()
	for range callers {
		group.Go(func() {
			c := simple("GET", u.target)
			c.host = []byte(u.host)
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

func pressOnce(p *pool, addr string, c *call) error {
	a, err := p.roundTrip(context.Background(), addr, c, &usual)
	if err != nil {
		return err
	}
	defer a.close()
	for err == nil {
		_, err = a.next()
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
