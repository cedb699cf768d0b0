package engine

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/http2"
	"socketup/part4-pooling/pool"
)

// Every limit of time of an http2Lane is kept by its reader, which looks at all streams at
// each tick: a timer for each of 500,000 requests a second would cost more than it is worth.

const tickInterval = 100 * time.Millisecond // how late a limit may be kept, and a stream that is no longer wanted cancelled

// frozenAfter is how late a tick is if this process was stopped. What arrived meanwhile is
// not late: it is read before the next tick.
const frozenAfter = time.Second

// armTick makes the reader wake up after a tick, if it does not anyway. The caller holds the lock.
func (l *http2Lane) armTick() { l.arm(time.Now().Add(tickInterval)) }

func (l *http2Lane) arm(at time.Time) {
	if l.err == nil && (l.armed.IsZero() || l.armed.After(at)) {
		l.armed = at
		l.conn.SetReadDeadline(at)
	}
}

// tick looks at all streams if it is time to. An error ends the lane.
func (l *http2Lane) tick() error {
	now := time.Now()
	l.mu.Lock()
	if l.err != nil && !now.Before(l.armed) {
		defer l.mu.Unlock()
		return l.err
	}
	if !l.armed.IsZero() && now.Before(l.armed) {
		l.mu.Unlock()
		return nil
	}
	var err error
	var late []lateStream
	if now.Sub(l.armed) < frozenAfter || l.armed.IsZero() {
		err, late = l.checkPing(), l.lateStreams(now)
	}
	busy := len(l.streams) > 0 || !l.pinged.IsZero()
	l.mu.Unlock()
	for _, e := range late {
		if l.cancel(e.stream, http2.Cancel) {
			l.endRemoved(e.stream, e.why, final)
		}
	}
	l.settle()
	l.backend.expire()
	r := &l.reader
	next := tickInterval
	switch idleTime := l.backend.m.pool.Limits.IdleTime; {
	case err != nil:
		return err
	case l.backend.mustYield(l):
		return errYield
	case !busy && l.isDrained():
		return errIdleLane
	case busy || r.idleSince.IsZero() || l.backend.hasWork():
		r.idleSince = now
	case now.Sub(r.idleSince) < idleTime:
		next = r.idleSince.Add(idleTime).Sub(now)
	case l.backend.retire(l):
		return errIdleLane
	}
	l.mu.Lock()
	l.armed = time.Time{}
	if l.arm(now.Add(next)); len(l.streams) > 0 {
		l.armTick() // one was opened meanwhile
	}
	l.mu.Unlock()
	return nil
}

// checkPing asks a backend that has been silent for long whether it lives, and returns an
// error if it has not answered. The caller holds the lock.
func (l *http2Lane) checkPing() error {
	wait := l.backend.m.Limits.Ping
	if l.proving {
		wait = min(wait, proveWithin)
	}
	switch now := wallNow(); {
	case !l.pinged.IsZero() && now.Sub(l.pinged) >= wait:
		return errPingTimeout
	case l.pinged.IsZero() && len(l.streams) > 0 && now.Sub(l.heard) >= wait:
		l.ping()
	}
	return nil
}

// A lateStream is a stream that is to be cancelled, and why.
type lateStream struct {
	stream *stream
	why    error
}

// lateStreams returns the streams whose responses are no longer wanted, or whose backend
// takes too long. The caller holds the lock.
func (l *http2Lane) lateStreams(now time.Time) (late []lateStream) {
	t := l.backend.m.timeouts
	for _, s := range l.streams {
		waited := now.Sub(s.since)
		switch {
		case !s.job.Sink.Wanted():
			late = append(late, lateStream{s, errClientGone})
		case s.stalled && waited >= t.Idle:
			late = append(late, lateStream{s, fmt.Errorf("%w: the backend does not read the request body", client.ErrBodyTimeout)})
		case s.state == awaitingHead && !s.uploading && t.Head > 0 && waited >= t.Head:
			late = append(late, lateStream{s, client.ErrHeadTimeout})
		case s.state == inBody && s.window > 0 && waited >= t.Idle && !s.pump.holdsData():
			late = append(late, lateStream{s, client.ErrBodyTimeout})
		}
	}
	return late
}

// holdsData reports whether p has something that its sink has not taken: then the backend is
// not at fault.
func (p *pump) holdsData() bool {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.data) > 0 || p.busy
}

// drain takes the lane out of use, and makes the reader see soon whether it has streams left.
func (l *http2Lane) drain() {
	l.backend.drain(l)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armTick()
}

// isDrained reports whether the lane is out of use.
func (l *http2Lane) isDrained() bool {
	l.backend.mu.Lock()
	defer l.backend.mu.Unlock()
	return l.draining && l.open == 0
}

// expire fails the jobs that have waited for a stream for too long, and withdraws those that
// are no longer wanted.
func (b *sharedBackend) expire() {
	if !b.hasWork() {
		return
	}
	now, most := time.Now(), b.m.pool.Limits.MaxWait
	b.mu.Lock()
	late := b.queue.removeIf(func(j *Job) bool {
		return !j.Sink.Wanted() || most > 0 && now.Sub(j.waiting.since) > most
	})
	b.mu.Unlock()
	b.failAll(late, fmt.Errorf("stream to %s: %w", b.addr, pool.ErrWaitTimeout))
}

// end closes the connection, and decides what becomes of the jobs that are left. The reader
// calls it last.
func (l *http2Lane) end(why error) {
	l.settle()
	l.backend.drain(l)
	l.fail(why)
	close(l.done)
	unix.Shutdown(l.conn.Sysfd, unix.SHUT_RDWR) // ends a write in progress
	<-l.writerDone
	l.mu.Lock()
	left := make([]*stream, 0, len(l.streams))
	for _, s := range l.streams {
		left = append(left, s)
	}
	clear(l.streams)
	l.changed.Broadcast()
	written := l.written
	l.mu.Unlock()
	if why != errIdleLane {
		l.conn.Fault = why
	}
	if l.nextID == 1 && why != errIdleLane { // it was of no use: another would not be either
		l.backend.failQueue(why)
	}
	l.lease.Retire()
	l.backend.ended()
	l.backend.m.counts.Retired.Add(1)
	sortByID(left)
	for _, s := range left {
		how := perhapsProcessed
		if s.offset >= written || s.id > l.lastID {
			how = notProcessed
		}
		l.endRemoved(s, why, how)
	}
	l.settle()
}

func sortByID(all []*stream) {
	slices.SortFunc(all, func(a, b *stream) int { return cmp.Compare(a.id, b.id) })
}
