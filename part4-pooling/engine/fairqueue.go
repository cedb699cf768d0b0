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
	clients  map[netip.Addr]*streamShare // those with jobs that wait or have a stream
	turns    []*streamShare              // those with jobs that wait
	next     int                         // of turns
	length   int                         // jobs that wait
	inFlight int                         // jobs that have a stream
}

// A streamShare is what one client has of a fairQueue.
type streamShare struct {
	client      netip.Addr
	first, last *Job // that wait, linked by waiting.next
	length      int
	inFlight    int
}

// A waiting is what a job needs to wait in a fairQueue.
type waiting struct {
	next  *Job
	share *streamShare
	since time.Time
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
	j.waiting = waiting{share: s, since: time.Now()}
	if s.last == nil {
		s.first = j
	} else {
		s.last.waiting.next = j
	}
	s.last = j
	q.grow(s)
	return true
}

// pushFront puts j, which was popped and released, ahead of its client's others.
func (q *fairQueue) pushFront(j *Job) {
	s := q.clients[j.waiting.share.client]
	if s == nil {
		s = &streamShare{client: j.waiting.share.client}
		q.clients[s.client] = s
	}
	j.waiting = waiting{share: s, next: s.first, since: time.Now()}
	if s.first = j; s.last == nil {
		s.last = j
	}
	q.grow(s)
}

func (q *fairQueue) grow(s *streamShare) {
	if s.length == 0 {
		q.turns = append(q.turns, s)
	}
	s.length++
	q.length++
}

// mayPop reports whether pop would return a job.
func (q *fairQueue) mayPop(capacity int) bool {
	for _, s := range q.turns {
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
	for range len(q.turns) {
		q.next %= len(q.turns)
		s := q.turns[q.next]
		if !q.fits(s, capacity) {
			q.next++
			continue
		}
		j := s.first
		s.inFlight++
		q.inFlight++
		if q.unlink(q.next, nil, j); s.length > 0 {
			q.next++
		}
		return j
	}
	return nil
}

// unlink removes j, which follows before (nil: it is the first), of the client whose turn is i.
func (q *fairQueue) unlink(i int, before, j *Job) {
	s := q.turns[i]
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
	if s.length--; s.length > 0 {
		return
	}
	last := len(q.turns) - 1
	q.turns[i], q.turns[last] = q.turns[last], nil // its turn comes a little earlier
	q.turns = q.turns[:last]
	q.forget(s)
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
	for i := len(q.turns) - 1; i >= 0; i-- {
		s := q.turns[i]
		var before *Job
		for j := s.first; j != nil; {
			next := j.waiting.next
			if gone(j) {
				q.unlink(i, before, j)
				j.waiting.next = removed
				removed = j
			} else {
				before = j
			}
			j = next
		}
	}
	return removed
}

// removeAll removes all jobs, and returns them as removeIf does.
func (q *fairQueue) removeAll() *Job { return q.removeIf(func(*Job) bool { return true }) }
