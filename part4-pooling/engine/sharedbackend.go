package engine

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/pool"
)

// A sharedBackend is a backend whose connections all clients share.
type sharedBackend struct {
	m    *Multiplexer
	addr string

	mu      sync.Mutex // guards what follows, and the room of the lanes
	queue   fairQueue
	lanes   []*http2Lane // that take jobs, oldest first
	alive   int          // lanes that have not ended, those that are drained included
	opening bool         // another lane is being opened
	began   time.Time    // when it was, or a lane made room for it
	perLane int          // how many streams the last opened lane allows
	closed  bool
}

func (b *sharedBackend) push(from netip.Addr, j *Job) bool {
	if b.m.pool.Limits.OneClient {
		from = netip.Addr{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || !b.queue.push(pool.ClientOf(from), j, b.m.Limits.Queue) {
		return false
	}
	j.moveTo(jobQueued)
	b.m.counts.Pushed.Add(1)
	b.dispatch()
	if b.queue.inFlight == 0 && len(b.lanes) > 0 { // no lane may have a tick, at which jobs expire; none may have room for j
		b.lanes[0].wakeUp()
	}
	return true
}

// dispatch has somebody take the jobs that wait: the oldest lane with room, so that there
// are as few lanes as possible, or a new one. The caller holds the lock.
func (b *sharedBackend) dispatch() {
	free := slices.IndexFunc(b.lanes, func(l *http2Lane) bool { return l.open < l.limit })
	if free < 0 && (b.opening || b.isFull()) || !b.queue.mayPop(b.capacity()) { // in this order: mayPop may look at all clients
		return
	}
	if free >= 0 {
		b.lanes[free].wakeUp()
		return
	}
	b.opening, b.began = true, time.Now()
	go b.openLane() // ends when the lane is open, or cannot be
}

// isFull reports whether no lane can be added: there are as many as the pool allows, or the
// backend wants no requests now. The caller holds the lock.
func (b *sharedBackend) isFull() bool {
	n := len(b.lanes)
	return n >= b.maxLanes() || n > 0 && b.lanes[n-1].limit == 0
}

// capacity returns how many streams the backend allows on all the connections that it may
// have. The caller holds the lock.
func (b *sharedBackend) capacity() int { return b.perLane * b.maxLanes() }

// maxLanes returns how many connections the pool allows.
func (b *sharedBackend) maxLanes() int {
	return min(b.m.pool.Limits.PerBackend, b.m.pool.Limits.Total)
}

// openLane adds a lane. If there is none, and none can be opened, the waiting jobs fail.
func (b *sharedBackend) openLane() {
	l, err := b.connect()
	b.mu.Lock()
	b.opening = false
	var failed *Job
	switch {
	case err == nil && b.closed:
		err = pool.ErrClosed
	case err == nil:
		b.lanes = append(b.lanes, l)
		b.alive++
		b.perLane = max(l.limit, 1)
		b.dispatch()
	}
	if err != nil {
		failed = b.removeFailed(err)
	}
	b.mu.Unlock()
	if l != nil {
		if err == nil {
			l.start()
		} else {
			l.close()
		}
	}
	b.failAll(failed, err)
}

// connect dials, and waits for the backend's SETTINGS: until it has shown that it speaks
// HTTP/2 it gets no request.
func (b *sharedBackend) connect() (*http2Lane, error) {
	ctx, t := context.Background(), b.m.timeouts
	lease, err := b.m.pool.Claim(ctx, b.m.pool.Reserve(b.addr, netip.Addr{}, nil), t) // charged to no client
	if err != nil {
		return nil, err
	}
	return openHTTP2Lane(b, lease)
}

// take returns jobs for streams on l, in an order that is fair to their clients, and counts
// them as open. It returns no more than maxBatch: the writer asks again.
func (b *sharedBackend) take(l *http2Lane, batch []*Job) []*Job {
	b.mu.Lock()
	defer b.mu.Unlock()
	for !l.draining && l.open < l.limit && len(batch) < maxBatch {
		j := b.queue.pop(b.capacity())
		if j == nil {
			return batch
		}
		l.open++
		batch = append(batch, j)
	}
	b.dispatch() // again, or to another lane
	return batch
}

// maxBatch bounds the heads that wait to be written.
const maxBatch = 64

// hasWork reports whether a job waits.
func (b *sharedBackend) hasWork() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.queue.length > 0
}

// release records that streams of l have ended.
func (b *sharedBackend) release(l *http2Lane, j *Job) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.open--
	b.queue.release(j)
	b.dispatch()
}

// requeue puts j, whose stream was released, back in its place in its client's queue.
func (b *sharedBackend) requeue(j *Job) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if j.state != jobQueued {
		j.moveTo(jobQueued)
	}
	b.m.counts.Retried.Add(1)
	b.queue.putBack(j)
	b.dispatch()
}

// setLimit records how many streams l may have at a time.
func (b *sharedBackend) setLimit(l *http2Lane, streams int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.limit = streams
	b.perLane = max(streams, 1)
	b.dispatch()
}

// drain takes l out of use: it gets no more jobs, and ends after its last stream. The jobs
// that wait are for other lanes.
func (b *sharedBackend) drain(l *http2Lane) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.remove(l)
	b.dispatch()
}

// mustYield reports whether l, which is drained, must end although it has streams: another
// lane has waited for its place for longer than pool.Limits.Spare. Otherwise a client that
// reads slowly on enough of such lanes would stop all others.
func (b *sharedBackend) mustYield(l *http2Lane) bool {
	limits, now := &b.m.pool.Limits, time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !l.draining || !b.opening || b.alive < b.maxLanes() || limits.Spare == 0 || now.Sub(b.began) <= limits.Spare {
		return false
	}
	b.began = now // one is enough
	return true
}

// ended records that the connection of l has been closed.
func (b *sharedBackend) ended() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.alive--
}

// retire is drain for a lane without streams, unless a job waits. It reports whether it took
// l out of use.
func (b *sharedBackend) retire(l *http2Lane) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.open > 0 || b.queue.length > 0 {
		return false
	}
	b.remove(l)
	return true
}

func (b *sharedBackend) remove(l *http2Lane) {
	l.draining = true
	for i, other := range b.lanes {
		if other == l {
			b.lanes = append(b.lanes[:i], b.lanes[i+1:]...)
			break
		}
	}
}

// failQueue fails the jobs that wait, if there is no lane for them. why is the fault of a lane
// that has carried no request: another would not be better.
func (b *sharedBackend) failQueue(why error) {
	b.mu.Lock()
	failed := b.removeFailed(why)
	b.mu.Unlock()
	b.failAll(failed, why)
}

// removeFailed removes the jobs that fail because of why, if there is no lane for them. But a
// backend that restarts accepts connections and ends them: so jobs wait for another lane a few
// times. The caller holds the lock.
func (b *sharedBackend) removeFailed(why error) (failed *Job) {
	if len(b.lanes) > 0 {
		return nil
	}
	again := errors.Is(why, client.ErrEnded) && !errors.Is(why, http1.ErrBadResponse)
	failed = b.queue.removeIf(func(j *Job) bool {
		j.refusals++
		return !again || j.refusals > maxRefusals
	})
	b.dispatch()
	return failed
}

func (b *sharedBackend) close() {
	b.mu.Lock()
	lanes := append([]*http2Lane(nil), b.lanes...)
	b.closed = true
	failed := b.queue.removeAll()
	b.mu.Unlock()
	for _, l := range lanes {
		l.fail(pool.ErrClosed)
	}
	b.failAll(failed, pool.ErrClosed)
}
