package main

import (
	"errors"
	"flag"
	"fmt"
	"time"
)

// limits are all that a client can make the server hold or wait for. Each is a
// flag.
type limits struct {
	head        int           // bytes of a request head: 431, 414
	fields      int           // in a head: 431
	body        int64         // bytes of a body, after decoding: 413
	pipeline    int           // requests of a connection not answered yet, or whose handlers still run; past that the reader stops
	connections int           // past that they wait in the kernel's queue
	idleTime    time.Duration // between requests; then a silent close
	headTime    time.Duration // for the whole head: 408
	bodyTime    time.Duration // for every 16 KiB of a body: 408
	handlerTime time.Duration // for a handler to answer, or to write on: 503. What it waits for its turn does not count
	writeTime   time.Duration // for the client to take 64 KiB; then a close
	lingerTime  time.Duration // for the client to close after us
	wait        string        // which driver serves the connections: driver.go
}

var defaults = limits{
	head:        16 << 10, // what Go, Apache and Node add up to: 8 KiB of target, 8 of fields
	fields:      100,      // as Apache
	body:        8 << 20,
	pipeline:    32,
	connections: 20_000,
	idleTime:    30 * time.Second,
	headTime:    10 * time.Second,
	bodyTime:    10 * time.Second,
	handlerTime: 70 * time.Second, // /sleep may take 60
	writeTime:   20 * time.Second,
	lingerTime:  2 * time.Second,
	wait:        defaultWait,
}

const (
	inSize    = 32 << 10               // bytes of a read buffer; an idle connection has none
	outSize   = 64 << 10               // bytes of answers that wait for a write before slots are kept back
	maxParked = 32 << 10               // bytes of an answer that wait behind others; a handler with more waits
	maxTurn   = 64                     // requests that a loop takes from a connection before others have their turn
	maxEmpty  = 2                      // empty lines before a request; RFC 9112 §2.2 asks for one at least
	lastCall  = 100 * time.Millisecond // for the next request to come when the server stops
	lastBytes = time.Second            // for what is missing of a request then
	crowded   = time.Second            // for it, when no further connection can be accepted
)

// flags sets l to the defaults and gives each limit its flag.
func (l *limits) flags(f *flag.FlagSet) {
	*l = defaults
	f.IntVar(&l.head, "head", l.head, "`bytes` of a request head, at most 32768")
	f.IntVar(&l.fields, "fields", l.fields, "fields in a request head")
	f.Int64Var(&l.body, "body", l.body, "`bytes` of a request body")
	f.IntVar(&l.pipeline, "pipeline", l.pipeline, "requests of one connection that may wait for their answers")
	f.IntVar(&l.connections, "connections", l.connections, "open connections; more wait in the kernel's queue")
	f.DurationVar(&l.idleTime, "idle-time", l.idleTime, "between two requests of a connection")
	f.DurationVar(&l.headTime, "head-time", l.headTime, "for a request head to come")
	f.DurationVar(&l.bodyTime, "body-time", l.bodyTime, "for each 16 KiB of a request body to come")
	f.DurationVar(&l.handlerTime, "handler-time", l.handlerTime, "for a handler to answer, without what it waits for its turn")
	f.DurationVar(&l.writeTime, "write-time", l.writeTime, "for a client to take 64 KiB of answers")
	f.DurationVar(&l.lingerTime, "linger-time", l.lingerTime, "for a client to close after the last answer")
	f.StringVar(&l.wait, "wait", l.wait, "how connections are served: `driver` serial, goroutines or loop (Linux)")
}

// perConnection is how many bytes a connection can hold at most. An answer that
// waits is there twice, as written and as it will leave. What Go adds is not in it:
// a slice that grows has up to a quarter more than it needs.
func (l *limits) perConnection() int {
	return inSize + l.pipeline*(l.head+2*maxParked) + 2*(outSize+maxParked) + int(l.body)
}

// check says what no server can work with.
func (l *limits) check() error {
	if l.head < 256 || l.head > inSize {
		return fmt.Errorf("-head %d: want 256 to %d", l.head, inSize)
	}
	if l.fields < 1 || l.pipeline < 1 || l.connections < 1 || l.body < 0 {
		return errors.New("-fields, -pipeline and -connections: want at least 1; -body: at least 0")
	}
	if l.wait != "serial" && l.wait != "goroutines" && (l.wait != "loop" || defaultWait != "loop") {
		return fmt.Errorf("-wait %s: want serial, goroutines, or on Linux loop", l.wait)
	}
	if l.shortest() <= 0 {
		return errors.New("a time of 0 or less is no time")
	}
	return nil
}

func (l *limits) shortest() time.Duration {
	return min(l.idleTime, l.headTime, l.bodyTime, l.handlerTime, l.writeTime, l.lingerTime)
}
