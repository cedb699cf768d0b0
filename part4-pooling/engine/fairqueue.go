package engine

import (
	"net/netip"
	"time"
)

// A fairQueue holds the jobs that wait for a stream. Clients take turns: a client with a
// thousand jobs delays the one job of another by one. Two rules of the pool apply here too
// (pool/share.go): of the streams, and of the places in the queue, a client leaves as many
// to others as it has.
//
// Jobs of one client are in their order, so one that has a stream waits for no other that
// has none. The zero Addr is no client: it may have all. The lock of its sharedBackend guards a queue.
type fairQueue struct {
	clients     map[netip.Addr]*streamShare // those with jobs that wait or have a stream
	first, last *streamShare                // those with jobs that wait, linked by next: first has its turn
	length      int                         // jobs that wait
	inFlight    int                         // jobs that have a stream
	pushed      uint64                      // jobs so far
}

// A streamShare is what one client has of a fairQueue.
type streamShare struct {
	client      netip.Addr
	next        *streamShare
	first, last *Job // that wait, linked by waiting.next
	length      int
	inFlight    int
}

// A waiting is what a job needs to wait in a fairQueue.
type waiting struct {
	next   *Job
	share  *streamShare
	number uint64 // jobs are in the order of their numbers
	since  time.Time
}

// push appends j, or returns false if the client has no place left of most.
func (q *fairQueue) push(client netip.Addr, j *Job, most int) bool {
	s := q.clients[client]
	has := 0
	if s != nil && client.IsValid() {
		has = s.length
	}
	if has >= most-q.length {
		return false
	}
	if s == nil {
		s = &streamShare{client: client}
		q.clients[client] = s
	}
	q.pushed++
	j.waiting = waiting{share: s, number: q.pushed, since: time.Now()}
	if s.last == nil {
		s.first = j
	} else {
		s.last.waiting.next = j
	}
	s.last = j
	q.grow(s)
	return true
}

// putBack puts j, which was popped and released, back in its place: ahead of the jobs of its
// client that were pushed later.
func (q *fairQueue) putBack(j *Job) {
	w := &j.waiting
	s := q.clients[w.share.client]
	if s == nil {
		s = &streamShare{client: w.share.client}
		q.clients[s.client] = s
	}
	w.share, w.since = s, time.Now()
	at := &s.first
	for *at != nil && (*at).waiting.number < w.number {
		at = &(*at).waiting.next
	}
	if w.next = *at; w.next == nil {
		s.last = j
	}
	*at = j
	q.grow(s)
}

func (q *fairQueue) grow(s *streamShare) {
	if s.length == 0 {
		q.addTurn(s)
	}
	s.length++
	q.length++
}

// addTurn puts s after all clients with jobs that wait: those that come back all the time
// must not get ahead of one that stays.
func (q *fairQueue) addTurn(s *streamShare) {
	if s.next = nil; q.last == nil {
		q.first = s
	} else {
		q.last.next = s
	}
	q.last = s
}

// removeTurn removes s, which follows before (nil: it is the first).
func (q *fairQueue) removeTurn(before, s *streamShare) {
	if before == nil {
		q.first = s.next
	} else {
		before.next = s.next
	}
	if q.last == s {
		q.last = before
	}
}

// mayPop reports whether pop would return a job.
func (q *fairQueue) mayPop(capacity int) bool {
	for s := q.first; s != nil; s = s.next {
		if q.fits(s, capacity) {
			return true
		}
	}
	return false
}

// fits reports whether the client of s may have another of capacity streams.
func (q *fairQueue) fits(s *streamShare, capacity int) bool {
	return !s.client.IsValid() || s.inFlight < capacity-q.inFlight
}

// pop removes the first job of the client whose turn it is, and counts it as in flight. It
// returns nil if no job waits, or only those of clients that have their share of capacity.
func (q *fairQueue) pop(capacity int) *Job {
	var before *streamShare
	for s := q.first; s != nil; before, s = s, s.next {
		if !q.fits(s, capacity) {
			continue
		}
		j := s.first
		s.inFlight++
		q.inFlight++
		q.unlink(s, nil, j)
		if q.removeTurn(before, s); s.length > 0 {
			q.addTurn(s)
		}
		return j
	}
	return nil
}

// unlink removes j, which follows before (nil: it is the first) in s.
func (q *fairQueue) unlink(s *streamShare, before, j *Job) {
	if before == nil {
		s.first = j.waiting.next
	} else {
		before.waiting.next = j.waiting.next
	}
	if s.last == j {
		s.last = before
	}
	j.waiting.next = nil
	q.length--
	s.length--
}

// release records that j, which was popped, has its stream no longer.
func (q *fairQueue) release(j *Job) {
	s := j.waiting.share
	s.inFlight--
	q.inFlight--
	q.forget(s)
}

func (q *fairQueue) forget(s *streamShare) {
	if s.length == 0 && s.inFlight == 0 {
		delete(q.clients, s.client)
	}
}

// removeIf removes the jobs for which gone returns true, and returns them as a list that is
// linked by waiting.next.
func (q *fairQueue) removeIf(gone func(*Job) bool) (removed *Job) {
	var before *streamShare
	for s := q.first; s != nil; s = s.next {
		var beforeJob *Job
		for j := s.first; j != nil; {
			next := j.waiting.next
			if gone(j) {
				q.unlink(s, beforeJob, j)
				j.waiting.next = removed
				removed = j
			} else {
				beforeJob = j
			}
			j = next
		}
		if s.length > 0 {
			before = s
		} else {
			q.removeTurn(before, s)
			q.forget(s)
		}
	}
	return removed
}

// removeAll removes all jobs, and returns them as removeIf does.
func (q *fairQueue) removeAll() *Job { return q.removeIf(func(*Job) bool { return true }) }
