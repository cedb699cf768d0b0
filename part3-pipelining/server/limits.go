package server

import (
	"errors"
	"flag"
	"fmt"
	"time"
)

// Limits bound everything that a client can make the server hold or wait for. Each but
// HandlerMemory has a flag (AddFlags). A number in a comment is the status with which a
// request past that limit is refused (RFC 9110 §15, RFC 6585).
type Limits struct {
	Head        int           // bytes of a request head: 431; if the target alone is too long, 414
	Fields      int           // fields in a request head: 431
	Body        int64         // bytes of a request body, without chunk framing: 413
	Pipeline    int           // requests of one connection that are unanswered or whose handlers still run; at the limit the server stops reading
	Connections int           // open connections; further clients wait in the kernel's accept queue
	IdleTime    time.Duration // between two requests; then the server closes without a response
	HeadTime    time.Duration // for a whole request head to arrive: 408
	BodyTime    time.Duration // for each 16 KiB of a request body to arrive: 408
	HandlerTime time.Duration // for a handler to return, or between two writes: 503. Waiting for earlier responses does not count
	WriteTime   time.Duration // for the client to take 64 KiB (notsent.go); then a close
	LingerTime  time.Duration // for the client to close after the server has sent FIN
	Driver      string        // "serial", "goroutines" or "loop": driver.go

	// WaitingMemory is how many bytes requests behind others, and their responses, may
	// hold in all connections together; at the limit the server stops reading
	// (waitingmemory.go). Together with busy connections that makes at most
	//
	//	WaitingMemory + busy × (32 KiB read + Head + 2 × 32 KiB + HandlerMemory + 2 × (64 + 32) KiB on the way out)
	//
	// (ProcessMemory), and twice that with garbage that Go has not collected yet.
	WaitingMemory int64
	HandlerMemory int // bytes that the program's handlers keep for a request that waits; no flag
}

// DefaultLimits are the defaults of the flags.
var DefaultLimits = Limits{
	Head:        16 << 10, // 8 KiB of target and 8 KiB of fields; Node's --max-http-header-size
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

	WaitingMemory: 128 << 20, // 1,638 requests behind others with the head above: a client with 32 in flight is one of fifty
}

// Bounds that have no flag. MaxEmptyLines is how many empty lines a server ignores before a
// request (RFC 9112 §2.2 asks for at least one); one more is a 400.
const (
	readBufferSize   = 32 << 10 // bytes of a read buffer; an idle connection has none
	writeBufferSize  = 64 << 10 // bytes of queued responses above which completed slots stay in the slot queue
	maxBuffered      = 32 << 10 // bytes of a response that are buffered; a handler that writes more blocks until it can send them
	maxTurnRequests  = 64       // requests that a loop takes from one connection before the others have their turns
	MaxEmptyLines    = 2
	drainIdleTime    = 100 * time.Millisecond // how long a stopping server waits for another request on an idle connection
	drainReadTime    = time.Second            // how long it waits for the rest of a request
	capacityIdleTime = time.Second            // IdleTime while clients wait and no further connection can be accepted
)

// AddFlags sets l to DefaultLimits and defines a flag for each limit. After f is parsed,
// call Validate.
func (l *Limits) AddFlags(f *flag.FlagSet) {
	*l = DefaultLimits
	f.IntVar(&l.Head, "head", l.Head, "maximum `bytes` in a request head, up to 32768")
	f.IntVar(&l.Fields, "fields", l.Fields, "maximum number of fields in a request head")
	f.Int64Var(&l.Body, "body", l.Body, "maximum `bytes` in a request body")
	f.IntVar(&l.Pipeline, "pipeline", l.Pipeline, "maximum unanswered requests on one connection")
	f.IntVar(&l.Connections, "connections", l.Connections, "maximum open connections; further clients wait in the kernel's accept queue")
	f.Int64Var(&l.WaitingMemory, "waiting-memory", l.WaitingMemory, "`bytes` of requests and responses that wait behind others, in all connections together")
	f.DurationVar(&l.IdleTime, "idle-time", l.IdleTime, "how long a connection may be idle between two requests")
	f.DurationVar(&l.HeadTime, "head-time", l.HeadTime, "how long a request head may take to arrive")
	f.DurationVar(&l.BodyTime, "body-time", l.BodyTime, "how long each 16 KiB of a request body may take to arrive")
	f.DurationVar(&l.HandlerTime, "handler-time", l.HandlerTime, "how long a handler may run, not counting its wait for earlier responses")
	f.DurationVar(&l.WriteTime, "write-time", l.WriteTime, "how long a client may take to read each 64 KiB of responses, or a sixteenth of its receive buffer if that is more")
	f.DurationVar(&l.LingerTime, "linger-time", l.LingerTime, "how long a client may take to close after the last response")
	f.StringVar(&l.Driver, "wait", l.Driver, "`driver` that serves the connections: serial, goroutines or loop (Linux)")
}

// PerConnection returns the largest number of bytes that one connection can hold. A
// buffered response counts twice, as written by the handler and as encoded. The spare
// capacity that append adds, up to a quarter, does not count.
func (l *Limits) PerConnection() int {
	return readBufferSize + l.Pipeline*(l.Head+2*maxBuffered) + 2*(writeBufferSize+maxBuffered) + int(l.Body)
}

// Validate returns an error if l cannot work. The error names the flag and its allowed
// values.
func (l *Limits) Validate() error {
	if l.Head < 256 || l.Head > readBufferSize {
		return fmt.Errorf("-head %d: want 256 to %d", l.Head, readBufferSize)
	}
	if l.Fields < 1 || l.Pipeline < 1 || l.Connections < 1 || l.Body < 0 || l.WaitingMemory < 0 {
		return errors.New("-fields, -pipeline and -connections: want at least 1; -body and -waiting-memory: at least 0")
	}
	if l.Driver != "serial" && l.Driver != "goroutines" && (l.Driver != "loop" || DefaultDriver != "loop") {
		return fmt.Errorf("-wait %s: want serial, goroutines, or on Linux loop", l.Driver)
	}
	if l.shortest() <= 0 {
		return errors.New("-idle-time, -head-time, -body-time, -handler-time, -write-time and -linger-time: want more than 0")
	}
	return nil
}

func (l *Limits) shortest() time.Duration {
	return min(l.IdleTime, l.HeadTime, l.BodyTime, l.HandlerTime, l.WriteTime, l.LingerTime)
}
