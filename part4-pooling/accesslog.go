package main

import (
	"context"
	"log/slog"
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"socketup/part4-pooling/server"
)

// An accessLog writes one line for each response (-access-log). Responses do not wait for
// it: they are put into a queue, without blocking, and a goroutine writes them to the
// log. If the log is slower than the server, and the queue is full, the log lacks lines,
// and says how many.
type accessLog struct {
	log     *slog.Logger
	queue   chan accessLine // written by the server's goroutines, each with a connection's lock held
	missing atomic.Int64    // lines that found no room since the last time the log said so
	quit    chan struct{}   // closed by close
	done    chan struct{}   // closed when all lines are written
}

// An accessLine is one response; its strings are copies, because the server reuses its
// buffers.
type accessLine struct {
	server.Served
	method, target string
}

const (
	accessQueue   = 1024            // lines that wait to be written
	maxMethod     = 32              // bytes of a method in the log
	maxTarget     = 512             // bytes of a target
	accessLogTime = 1 * time.Second // how long close waits for a log that does not take the lines
)

// newAccessLog returns an access log that writes to log. The caller must close it.
func newAccessLog(log *slog.Logger) *accessLog {
	a := &accessLog{log: log, queue: make(chan accessLine, accessQueue), quit: make(chan struct{}), done: make(chan struct{})}
	go a.run() // close waits for it
	return a
}

// record puts a line for v into the queue. It does not block: it is for server.Server.OnServed.
func (a *accessLog) record(v server.Served) {
	line := accessLine{v, string(v.Method[:min(len(v.Method), maxMethod)]), string(v.Target[:min(len(v.Target), maxTarget)])}
	line.Method, line.Target = nil, nil
	select {
	case a.queue <- line:
	default:
		a.missing.Add(1)
	}
}

func (a *accessLog) run() {
	defer close(a.done)
	for {
		select {
		case line := <-a.queue:
			a.write(line)
		case <-a.quit:
			for len(a.queue) > 0 {
				a.write(<-a.queue)
			}
			a.writeMissing()
			return
		}
	}
}

func (a *accessLog) write(line accessLine) {
	fields := []slog.Attr{
		slog.String("method", printable(line.method)), slog.String("target", printable(line.target)), slog.Int("status", line.Status), slog.Int64("bytes", line.Bytes),
		slog.Float64("ms", math.Round(float64(line.Duration)/1e3)/1e3), slog.String("client", line.Client.String()), slog.Any("error", line.Err),
	}
	a.log.LogAttrs(context.Background(), slog.LevelInfo, "response", fields...)
	if len(a.queue) == 0 {
		a.writeMissing()
	}
}

// printable returns what a client sent with all but printable ASCII escaped: a log is
// read in terminals, and by programs. Like other access logs it has - for nothing.
func printable(text string) string {
	if text == "" {
		return "-"
	}
	quoted := strconv.QuoteToASCII(text)
	return quoted[1 : len(quoted)-1]
}

// writeMissing writes how many lines are missing since the last time.
func (a *accessLog) writeMissing() {
	if n := a.missing.Swap(0); n > 0 {
		a.log.Warn("the access log lacks lines: they came faster than it can be written", "lines", n)
	}
}

// close writes the lines that wait in the queue, and waits for that no longer than
// accessLogTime.
func (a *accessLog) close() {
	close(a.quit)
	select {
	case <-a.done:
	case <-time.After(accessLogTime):
	}
}
