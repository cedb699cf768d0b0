package engine

import (
	"errors"
	"slices"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/http1"
)

// What becomes of jobs without a complete response when their lane ends.

// requeue puts jobs back at the front of the queue, in their order. If the queue is
// empty then, it unregisters the engine and returns false.
func (e *Engine) requeue(jobs []*Job) (more bool) {
	e.registry.mu.Lock()
	defer e.registry.mu.Unlock()
	e.inFlight -= len(jobs)
	e.queue = slices.Insert(e.queue, 0, jobs...)
	if more = len(e.queue) > 0; !more {
		e.registry.remove(e)
	}
	return more
}

// resolveUnanswered decides what becomes of the jobs that were on lane l or refused
// by it, and reports whether the queue needs another lane. All jobs are idempotent:
// others are never pushed. The first row that fits applies:
//
//	the response is no longer wanted      withdrawn
//	part of the response has been sent    failed: the client sees it truncated
//	it is the oldest, and timed out       failed
//	it is the oldest, and malformed       failed: asking again would give the same
//	the backend has not processed it      retried; not counted as an attempt
//	the response is unreliable            retried; not counted: the retry is the first request on a fresh connection
//	the connection is given back          retried; not counted: the next one has the oldest job at its turn, and takes one job at a time
//	the backend may have processed it     retried once
//
// Without a limit, a backend that closes every connection at once would be tried for
// ever. So the oldest job is charged an attempt if the lane delivered no response at
// all, even if the job was not sent. A lane that the engine itself ended, because the
// rest of an unwanted response was too long to discard, charges its jobs no attempt for
// being sent.
func (e *Engine) resolveUnanswered(l Lane) (again bool) {
	written := l.inFlight()
	left := slices.Concat(written, e.unsent)
	var jobs []*Job
	for i, j := range left {
		touched := i < len(written) && !l.unprocessed(j)
		if e.laneErr != errUnreliable && e.laneErr != ErrGiveBack && (touched && e.laneErr != errDiscardLimit || i == 0 && !e.gotResponse) {
			j.attempts++
		}
		switch {
		case !j.Sink.Wanted():
			e.finishJob(j, jobWithdrawn, nil)
		case j.Sink.Committed() || j.attempts > 1 || i == 0 && isFinal(e.laneErr):
			e.finishJob(j, jobFailed, e.laneErr)
		default:
			jobs = append(jobs, j)
			if e.counts.Retried.Add(1); i < len(written) {
				j.moveTo(jobQueued)
			}
		}
	}
	e.removeInFlight(len(left) - len(jobs))
	more := e.requeue(jobs)
	e.flushPending()
	return more
}

// isFinal reports whether err is the backend's last word: a timeout or a malformed
// response. A retry would end the same way; the pool does not retry these either
// (client.Conn.MayRetry).
func isFinal(err error) bool {
	return errors.Is(err, client.ErrHeadTimeout) || errors.Is(err, client.ErrBodyTimeout) || errors.Is(err, http1.ErrBadResponse)
}

// failQueued ends all queued jobs, because no connection can be had, and unregisters
// the engine.
func (e *Engine) failQueued(why error) {
	e.registry.mu.Lock()
	jobs := e.queue
	e.queue = nil
	e.registry.remove(e)
	e.registry.mu.Unlock()
	for _, j := range jobs {
		if j.Sink.Wanted() {
			e.finishJob(j, jobFailed, why)
		} else {
			e.finishJob(j, jobWithdrawn, nil)
		}
	}
	e.flushPending()
}
