package engine

import (
	"errors"
	"net/netip"
	"sync"
	"time"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/pool"
)

// A Multiplexer sends the jobs of all clients to backends that speak HTTP/2. A stream has
// a number, so responses may come in any order, and no client can be given another's. So
// clients share connections, as few as the backend allows. The script:
//
//	the caller  pushes a job: it waits in the queue of its backend (fairqueue.go)
//	the writer  of a lane takes as many jobs as may have a stream, and sends them in one write (http2write.go)
//	the reader  of the lane passes each response to its job's sink, and waits for none: one that
//	            cannot take more now gets a goroutine of its own (pump.go)
//
// A job ends as in an Engine: once, with its own complete response, with an error, or
// withdrawn. What HTTP/2 adds is what a backend says of a request that it has not
// processed (RFC 9113 §8.7). Such a request, whatever its method, is sent again.
//
// No lock is held during a dial, a read or a write on a backend's connection. Lock order:
// http2Lane.mu, then pump.mu; sharedBackend.mu is held together with neither. The locks behind
// a Sink come last.
type Multiplexer struct {
	Limits   StreamLimits
	pool     *pool.Pool
	timeouts *client.Timeouts
	counts   *Counts

	mu       sync.Mutex
	backends map[string]*sharedBackend
	closed   bool
}

// ErrStreamQueueFull is the error of a request that found no room among those that wait for
// a stream.
var ErrStreamQueueFull = errors.New("too many requests wait for a stream")

// NewMultiplexer returns a multiplexer that takes the permits of its connections from p.
// t and counts are the gateway's, and must not change while it is in use.
func NewMultiplexer(p *pool.Pool, t *client.Timeouts, counts *Counts) *Multiplexer {
	return &Multiplexer{Limits: DefaultStreamLimits, pool: p, timeouts: t, counts: counts, backends: map[string]*sharedBackend{}}
}

// Push moves j, a request of the client at from, to the queue of the backend at addr, and
// does not block. It returns false if the queue has no room for the client; the caller then
// still owns j. If it returns true, the caller must not even read j. j.Request has no body:
// a request with one is sent with RoundTrip.
func (m *Multiplexer) Push(addr string, from netip.Addr, j *Job) bool {
	b := m.backendFor(addr)
	return b != nil && b.push(from, j)
}

// RoundTrip is Push for a caller that waits until the job has ended: for requests with a
// body, which it sends meanwhile, and for those that must be sent at most once. j.Sink is
// called on the caller's goroutine, and returns no Flusher.
func (m *Multiplexer) RoundTrip(addr string, from netip.Addr, j *Job) error {
	b := m.backendFor(addr)
	if b == nil {
		return pool.ErrClosed
	}
	j.pump = newPump(j, b)
	j.upload = newUpload(j, m.timeouts)
	if !b.push(from, j) {
		return ErrStreamQueueFull
	}
	if u := j.upload; u != nil { // the caller of RoundTrip still owns the request, and u; the job may be gone
		go u.run() // ends with stop
		defer u.stop()
	}
	j.pump.run()
	return nil
}

// ShouldGiveBack reports whether a response that has waited for its turn for so long must give
// its stream back (pool/giveback.go), because a job waits for one, and the backend allows no more.
func (m *Multiplexer) ShouldGiveBack(addr string, waited time.Duration) bool {
	b, spare := m.backendFor(addr), m.pool.Limits.Spare
	if b == nil || spare == 0 || waited <= spare {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.queue.length > 0 && b.isFull()
}

// backendFor finds or creates the backend at addr. It returns nil after Close.
func (m *Multiplexer) backendFor(addr string) *sharedBackend {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	b := m.backends[addr]
	if b == nil {
		b = &sharedBackend{m: m, addr: addr, perLane: m.Limits.Streams}
		b.queue.clients = map[netip.Addr]*streamShare{}
		m.backends[addr] = b
	}
	return b
}

// Close ends all connections. Jobs without a response fail.
func (m *Multiplexer) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	for _, b := range m.backends {
		b.close()
	}
}
