package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"
)

// An experiment is a server, and clients that connect faster than it serves them.
type experiment struct {
	backlog        int
	serviceTime    time.Duration // for each request
	clients        int
	interval       time.Duration
	connectTimeout time.Duration
}

// A result is the timeline and the counts of one run of an experiment.
type result struct {
	*timeline
	outcomes     []outcome
	counterDelta counters // during the run, in the whole network namespace
	listener     netip.AddrPort
}

func (r result) answered() (n int) {
	for _, v := range r.outcomes {
		if v.err == nil {
			n++
		}
	}
	return n
}

// run runs the experiment on this machine and records what clients, kernel and server
// do on one timeline. On a system that does not show its accept queue, the kernel's
// events are missing.
func (x experiment) run(ctx context.Context) (r result, err error) {
	fd, err := listen("127.0.0.1:0", x.backlog)
	if err != nil {
		return r, err
	}
	r.timeline, r.listener = newTimeline(), localAddr(fd)
	before, _ := readCounters()
	s := newServer(fd, slog.New(&timelineLog{Handler: slog.DiscardHandler, t: r.timeline}))
	s.delay = x.serviceTime
	stop := watchQueue(r.timeline, fd, before)
	served := make(chan struct{})
	go func() { s.serve(); close(served) }() // run waits for served

	var mu sync.Mutex // guards r.outcomes
	var all sync.WaitGroup
	for i := range x.clients {
		if i > 0 && !sleepContext(ctx, x.interval) {
			break
		}
		name := fmt.Sprintf("client %d", i+1)
		c := client{number: i + 1, addr: r.listener.String(), connectTimeout: x.connectTimeout, responseTimeout: 30 * time.Second,
			onEvent: func(at time.Time, what, to string) { r.record(at, name, what, to) }}
		came, begun := time.Since(r.start), make(chan struct{})
		all.Go(func() {
			v := c.requestOnce(ctx, func() { close(begun) })
			v.ArrivedMS = milliseconds(came)
			mu.Lock()
			defer mu.Unlock()
			r.outcomes = append(r.outcomes, v)
		})
		<-begun
		if i == 0 {
			awaitEmptyQueue(ctx, fd)
		}
	}
	all.Wait()
	stop() // before the server closes the socket, which watchQueue uses
	s.stop()
	<-served
	after, _ := readCounters()
	r.counterDelta = after.sub(before)
	return r, ctx.Err()
}

// awaitEmptyQueue waits, for a second at most, until the server has accepted the first
// client.
func awaitEmptyQueue(ctx context.Context, fd int) {
	for until := time.Now().Add(time.Second); time.Now().Before(until); {
		if q, err := readAcceptQueue(fd); err != nil || q.Waiting == 0 || !sleepContext(ctx, time.Millisecond) {
			return
		}
	}
}

// watchQueue records on t every change of fd's accept queue that lasts a millisecond,
// and every ignored SYN, until stop is called. stop waits for the goroutine.
func watchQueue(t *timeline, fd int, before counters) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() { // stop waits for it
		defer close(done)
		var told, seen acceptQueue
		var since time.Time
		for {
			now, err := readAcceptQueue(fd)
			if err != nil {
				return
			}
			if now != seen {
				seen, since = now, time.Now()
			} else if now.Waiting != told.Waiting { // seen twice: not just passing through to an idle server
				t.record(since, "kernel", "accept queue "+now.String(), "")
				told = now
			}
			if c, err := readCounters(); err == nil && c.Drops > before.Drops {
				t.record(time.Now(), "kernel", fmt.Sprintf("ignores a SYN: ListenOverflows +%d, ListenDrops +%d",
					c.Overflows-before.Overflows, c.Drops-before.Drops), "")
				before = c
			}
			select {
			case <-quit:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	return func() { close(quit); <-done }
}

// timelineLog is a log handler that records the server's responses on a timeline.
type timelineLog struct {
	slog.Handler
	t *timeline
}

func (a *timelineLog) Enabled(context.Context, slog.Level) bool { return true }

func (a *timelineLog) Handle(_ context.Context, line slog.Record) error {
	line.Attrs(func(field slog.Attr) bool {
		if field.Key == "status" {
			a.t.record(line.Time, "server", "has answered "+field.Value.String()+" and takes the next", "")
		}
		return true
	})
	return nil
}
