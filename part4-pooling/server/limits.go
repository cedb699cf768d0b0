package server

import (
	"errors"
	"flag"
	"fmt"
	"time"
)

// Limits are all that a client can make the server hold or wait for. Each is a
// flag.
type Limits struct {
	Head        int           // bytes of a request head: 431, 414
	Fields      int           // in a head: 431
	Body        int64         // bytes of a body, after decoding: 413
	Pipeline    int           // requests of a connection not answered yet, or whose handlers still run; past that the reader stops
	Connections int           // past that they wait in the kernel's queue
	IdleTime    time.Duration // between requests; then a silent close
	HeadTime    time.Duration // for the whole head: 408
	BodyTime    time.Duration // for every 16 KiB of a body: 408
	HandlerTime time.Duration // for a handler to answer, or to write on: 503. What it waits for its turn does not count
	WriteTime   time.Duration // for the client to take 64 KiB (notsent.go); then a close
	LingerTime  time.Duration // for the client to close after us
	Driver      string        // which driver serves the connections: driver.go
}

var DefaultLimits = Limits{
	Head:        16 << 10, // what Go, Apache and Node add up to: 8 KiB of target, 8 of fields
	Fields:      100,      // as Apache
	Body:        8 << 20,
	Pipeline:    32,
	Connections: 20_000,
	IdleTime:    30 * time.Second,
	HeadTime:    10 * time.Second,
	BodyTime:    10 * time.Second,
	HandlerTime: 70 * time.Second, // /sleep may take 60
	WriteTime:   20 * time.Second,
	LingerTime:  2 * time.Second,
	Driver:      DefaultDriver,
}

const (
	readBufferSize   = 32 << 10               // bytes of a read buffer; an idle connection has none
	writeBufferSize  = 64 << 10               // bytes of responses that wait for a write before slots are kept back
	maxBuffered      = 32 << 10               // bytes of a response that wait behind others; a handler with more waits
	maxTurnRequests  = 64                     // requests that a loop takes from a connection before others have their turn
	MaxEmptyLines    = 2                      // empty lines before a request; RFC 9112 §2.2 asks for one at least
	drainIdleTime    = 100 * time.Millisecond // for the next request to come when the server stops
	drainReadTime    = time.Second            // for what is missing of a request then
	capacityIdleTime = time.Second            // for it, when no further connection can be accepted
)

// AddFlags sets l to the defaults and gives each limit its flag.
func (l *Limits) AddFlags(f *flag.FlagSet) {
	*l = DefaultLimits
	f.IntVar(&l.Head, "head", l.Head, "`bytes` of a request head, at most 32768")
	f.IntVar(&l.Fields, "fields", l.Fields, "fields in a request head")
	f.Int64Var(&l.Body, "body", l.Body, "`bytes` of a request body")
	f.IntVar(&l.Pipeline, "pipeline", l.Pipeline, "requests of one connection that may wait for their answers")
	f.IntVar(&l.Connections, "connections", l.Connections, "open connections; more wait in the kernel's queue")
	f.DurationVar(&l.IdleTime, "idle-time", l.IdleTime, "between two requests of a connection")
	f.DurationVar(&l.HeadTime, "head-time", l.HeadTime, "for a request head to come")
	f.DurationVar(&l.BodyTime, "body-time", l.BodyTime, "for each 16 KiB of a request body to come")
	f.DurationVar(&l.HandlerTime, "handler-time", l.HandlerTime, "for a handler to answer, without what it waits for its turn")
	f.DurationVar(&l.WriteTime, "write-time", l.WriteTime, "for a client to take each 64 KiB of answers, or a sixteenth of its receive buffer if that is more")
	f.DurationVar(&l.LingerTime, "linger-time", l.LingerTime, "for a client to close after the last answer")
	f.StringVar(&l.Driver, "wait", l.Driver, "how connections are served: `driver` serial, goroutines or loop (Linux)")
}

// PerConnection is how many bytes a connection can hold at most. A response that
// waits is there twice, as written and as it will leave. What Go adds is not in it:
// a slice that grows has up to a quarter more than it needs.
func (l *Limits) PerConnection() int {
	return readBufferSize + l.Pipeline*(l.Head+2*maxBuffered) + 2*(writeBufferSize+maxBuffered) + int(l.Body)
}

// Validate says what no server can work with.
func (l *Limits) Validate() error {
	if l.Head < 256 || l.Head > readBufferSize {
		return fmt.Errorf("-head %d: want 256 to %d", l.Head, readBufferSize)
	}
	if l.Fields < 1 || l.Pipeline < 1 || l.Connections < 1 || l.Body < 0 {
		return errors.New("-fields, -pipeline and -connections: want at least 1; -body: at least 0")
	}
	if l.Driver != "serial" && l.Driver != "goroutines" && (l.Driver != "loop" || DefaultDriver != "loop") {
		return fmt.Errorf("-wait %s: want serial, goroutines, or on Linux loop", l.Driver)
	}
	if l.shortest() <= 0 {
		return errors.New("a time of 0 or less is no time")
	}
	return nil
}

func (l *Limits) shortest() time.Duration {
	return min(l.IdleTime, l.HeadTime, l.BodyTime, l.HandlerTime, l.WriteTime, l.LingerTime)
}
