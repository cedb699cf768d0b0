package engine

import (
	"errors"
	"slices"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/http2"
)

// How the reader of an http2Lane passes responses on: to a sink that can take them at once,
// or to a pump; and how their jobs end.

// borrow returns the stream of f, or nil if it has ended. Until handBack the caller alone
// may use it: a stream with a pump is guarded by the lock, which borrow takes; one without
// belongs to the reader. A frame on a stream that we have not opened is an error (idle, RFC
// 9113 §5.1).
func (l *http2Lane) borrow(f http2.Frame) (*stream, *http2.ConnError) {
	l.mu.Lock()
	s, bad := l.lookup(f)
	if s == nil || s.pump == nil {
		l.mu.Unlock()
	} else {
		l.reader.locked = true
	}
	return s, bad
}

func (l *http2Lane) handBack() {
	if l.reader.locked {
		l.reader.locked = false
		l.mu.Unlock()
	}
}

// The pass functions pass on what has arrived on s, which is borrowed.

func (l *http2Lane) passInterim(s *stream) {
	switch {
	case s.response.Status == 100 && s.job.upload != nil:
		s.job.upload.proceed()
	case s.job.Request.OnInterim != nil:
		l.pumpOf(s).addInterim(&s.response)
	}
}

func (l *http2Lane) passHead(s *stream) {
	if s.pump != nil {
		s.pump.addHead(&s.response)
	} else {
		s.job.Sink.Head(&s.response)
	}
	l.passed(s)
}

func (l *http2Lane) passData(s *stream, piece []byte, padding int) {
	switch {
	case len(piece) == 0:
	case s.pump == nil && len(piece) <= s.job.Sink.Room():
		s.job.Sink.Data(piece) // it cannot block, and what it cannot send it notes
		padding += len(piece)
	default:
		l.pumpOf(s).addData(piece)
	}
	if padding > 0 {
		l.giveCreditBorrowed(s, padding)
	}
	l.passed(s)
}

// giveCreditBorrowed is giveCredit for the reader. Without a pump it takes the lock only when
// there is something to write.
func (l *http2Lane) giveCreditBorrowed(s *stream, n int) {
	if s.credit += n; s.credit < l.backend.m.Limits.Window/2 || s.state == complete {
		return
	}
	if !l.reader.locked {
		l.mu.Lock()
		defer l.mu.Unlock()
	}
	l.sendCredit(s)
}

func (l *http2Lane) passTrailers(s *stream) {
	if s.job.Sink.WantsTrailers() {
		l.pumpOf(s).addTrailers(l.reader.fields) // the sink may block
	}
	l.passed(s)
}

// passed ends the job of s if the response is complete, and otherwise notes that bytes have
// been passed on.
func (l *http2Lane) passed(s *stream) {
	r := &l.reader
	switch {
	case s.state != complete:
		if s.pump == nil && !s.unpaused {
			s.unpaused = true
			r.touched = append(r.touched, s)
		}
	case s.pump != nil:
		if s.uploading { // the backend has said all that it had to say, and need not read the rest
			l.enqueue(http2.AppendRSTStream(l.out, s.id, http2.NoError))
			l.wakeUp()
		}
		l.removeLocked(s)
		s.pump.end(s, nil, final)
	default:
		l.finish(s)
		l.backend.release(l, s.job)
		l.endJob(s.job, jobDone, nil)
	}
}

// pumpOf returns the pump of s, which is borrowed, and starts one if it has none: from then
// on the lock guards s.
func (l *http2Lane) pumpOf(s *stream) *pump {
	if s.pump == nil {
		l.mu.Lock()
		l.reader.locked = true
		l.startPump(s)
	}
	return s.pump
}

// endJob ends a job that the reader owns. Its client is written to in settle.
func (l *http2Lane) endJob(j *Job, how jobState, why error) {
	r := &l.reader
	if f := l.backend.m.counts.end(j, how, why); f != nil && !slices.Contains(r.owed, f) {
		r.owed = append(r.owed, f)
	}
}

// settle runs before the reader waits, when everything that has arrived is passed on. It
// writes complete responses to their clients, and gives each incomplete one a pump, which
// writes what there is.
func (l *http2Lane) settle() {
	r := &l.reader
	for _, f := range r.owed {
		f.Flush()
	}
	for _, s := range r.touched {
		l.mu.Lock()
		if s.pump == nil && l.streams[s.id] == s {
			l.startPump(s)
		}
		l.mu.Unlock()
	}
	clear(r.owed)
	clear(r.touched)
	r.owed, r.touched = r.owed[:0], r.touched[:0]
}

// failStream resets s because of what the backend did, and fails its job.
func (l *http2Lane) failStream(s *stream, code http2.ErrorCode, why error) {
	if l.cancel(s, code) {
		l.endRemoved(s, why, final)
	}
}

// endStream ends s, which the backend does not continue.
func (l *http2Lane) endStream(s *stream, why error, how ending) {
	l.mu.Lock()
	open := l.streams[s.id] == s
	l.removeLocked(s)
	l.mu.Unlock()
	if open {
		l.endRemoved(s, why, how)
	}
}

// endRemoved decides what becomes of the job of s, which has been removed from the lane.
func (l *http2Lane) endRemoved(s *stream, why error, how ending) {
	if s.pump != nil {
		s.pump.end(s, why, how)
		return
	}
	l.backend.release(l, s.job)
	if next := l.backend.decide(s.job, why, how); next == jobQueued {
		l.backend.requeue(s.job)
	} else {
		l.endJob(s.job, next, why)
	}
}

// decide returns what becomes of j, whose stream has ended without a complete response: it
// is Queued again, Failed or Withdrawn. The first row that fits applies:
//
//	the response is no longer wanted      withdrawn
//	part of the response has been sent    failed: the client sees it truncated
//	its body has been read                failed: it cannot be read twice
//	the backend has not processed it      sent again, whatever its method is; three times at most
//	the backend may have processed it     sent again once if the method is idempotent and the connection ended or the stream was reset
//	anything else                         failed
func (b *sharedBackend) decide(j *Job, why error, how ending) jobState {
	switch {
	case !j.Sink.Wanted():
		return jobWithdrawn
	case how == final, j.Sink.Committed(), j.upload != nil && !j.upload.repeatable():
		return jobFailed
	case how == notProcessed && j.refusals < maxRefusals:
		j.refusals++
		return jobQueued
	case how == perhapsProcessed && j.attempts == 0 && client.IsIdempotent(j.Request.Method) && (errors.Is(why, client.ErrEnded) || errors.Is(why, client.ErrTruncated)):
		j.attempts++
		return jobQueued
	}
	return jobFailed
}

// maxRefusals bounds how often a request is sent again because the backend has not processed it.
const maxRefusals = 3

// failAll fails the jobs of a list that was removed from the queue, or withdraws those that
// are no longer wanted.
func (b *sharedBackend) failAll(list *Job, why error) {
	for j := list; j != nil; {
		next := j.waiting.next
		j.waiting.next = nil
		b.failWaiting(j, why)
		j = next
	}
}

// failWaiting ends a job that has no stream.
func (b *sharedBackend) failWaiting(j *Job, why error) {
	if j.pump != nil {
		j.pump.end(nil, why, final)
		return
	}
	how := jobFailed
	if !j.Sink.Wanted() {
		how = jobWithdrawn
	}
	if f := b.m.counts.end(j, how, why); f != nil {
		f.Flush()
	}
}

// end ends a job in its final state how.
func (c *Counts) end(j *Job, how jobState, why error) Flusher {
	c.byState[how].Add(1)
	if j.moveTo(how); how != jobFailed {
		why = nil
	}
	return j.Sink.End(why)
}
