package engine

import (
	"fmt"
	"io"
	"strconv"
	"sync/atomic"
	"time"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/http2"
)

// An upload sends the body of a request, on a goroutine of its own: it waits for the
// client's bytes, and for window, while the response may already arrive.
type upload struct {
	job      *Job
	request  *client.Request
	timeouts *client.Timeouts
	begin    chan *stream  // each stream of the job
	goAhead  chan struct{} // has a token when the backend has sent 100 Continue
	ended    chan struct{} // closed when the job has ended
	done     chan struct{} // closed when run has ended
	begun    atomic.Bool   // Stream has been read: it cannot be read twice
}

// newUpload returns nil for a request without a body.
func newUpload(j *Job, t *client.Timeouts) *upload {
	q := j.Request
	if q.Stream == nil && len(q.Body) == 0 {
		return nil
	}
	return &upload{job: j, request: q, timeouts: t, begin: make(chan *stream, 1), goAhead: make(chan struct{}, 1), ended: make(chan struct{}), done: make(chan struct{})}
}

// appendLength appends the fields that frame the body of q.
func appendLength(b []byte, q *client.Request) []byte {
	if q.ExpectContinue {
		b = http2.AppendRequestField(b, []byte("expect"), []byte("100-continue"))
	}
	n := int64(len(q.Body))
	switch {
	case q.Stream != nil:
		n = q.Length
	case n == 0 && !client.MethodExpectsBody(q.Method):
		return b
	}
	if n == http1.Chunked { // END_STREAM is the end
		return b
	}
	return http2.AppendField(b, []byte("content-length"), strconv.AppendInt(nil, n, 10))
}

// repeatable reports whether the body can be sent again.
func (u *upload) repeatable() bool { return u.request.Stream == nil || !u.begun.Load() }

// run sends the body on each stream that the job gets, until stop.
func (u *upload) run() {
	defer close(u.done)
	for {
		select {
		case s := <-u.begin:
			u.send(s)
		case <-u.ended:
			return
		}
	}
}

// stop ends run: the job has ended. When it returns, no goroutine reads the body.
func (u *upload) stop() {
	close(u.ended)
	if c, ok := u.request.Stream.(interface{ CancelRead() }); ok {
		select {
		case <-u.done:
			return
		default:
			c.CancelRead()
		}
	}
	<-u.done
}

// send sends the body on s, until it is complete or s has ended.
func (u *upload) send(s *stream) {
	if u.request.ExpectContinue {
		if s = u.awaitContinue(s); s == nil {
			return
		}
	}
	if u.request.Stream == nil {
		s.sendBody(u.request.Body, true)
		return
	}
	if !u.mayRead(s) {
		return
	}
	buf := make([]byte, http2.DefaultMaxFrame)
	for {
		n, err := u.request.Stream.Read(buf)
		trailers := u.trailers(err)
		if !s.sendBody(buf[:n], err == io.EOF && trailers == nil) {
			return
		}
		switch {
		case err == io.EOF:
			if trailers != nil {
				s.sendTrailers(trailers)
			}
			return
		case err != nil:
			s.lane.failUpload(s, fmt.Errorf("%w: %w", client.ErrUpload, err))
			return
		}
	}
}

// mayRead reports whether s is open, and then records that Stream is read from now on. If s
// has ended, what is read would be lost, and the request may have another stream.
func (u *upload) mayRead(s *stream) bool {
	s.lane.mu.Lock()
	defer s.lane.mu.Unlock()
	open := s.lane.streams[s.id] == s
	if open {
		u.begun.Store(true)
	}
	return open
}

// trailers returns the trailers of a body that has ended with err, as a header block.
func (u *upload) trailers(err error) (block []byte) {
	t, ok := u.request.Stream.(interface{ TrailerFields() []http1.Field })
	if err != io.EOF || !ok || u.request.Length != http1.Chunked {
		return nil
	}
	for _, f := range t.TrailerFields() {
		block = http2.AppendRequestField(block, f.Name, f.Value)
	}
	return block
}

// awaitContinue waits until the body may be sent: for 100 Continue, but not for longer than
// ContinueWait (RFC 9110 §10.1.1). It returns the stream to send it on, which is another one
// if the backend has refused s meanwhile, or nil if the job has ended.
func (u *upload) awaitContinue(s *stream) *stream {
	wait := time.NewTimer(u.timeouts.ContinueWait)
	defer wait.Stop()
	for {
		select {
		case s = <-u.begin:
			wait.Reset(u.timeouts.ContinueWait)
		case <-u.goAhead:
			select {
			case s = <-u.begin: // which the backend has seen before it went ahead
			default:
			}
			return s
		case <-wait.C:
			return s
		case <-u.ended:
			return nil
		}
	}
}

// beginOn has run send the body on s. It does not block.
func (u *upload) beginOn(s *stream) {
	select {
	case <-u.begin: // a stream that has ended before run came to it
	default:
	}
	u.begin <- s
}

// proceed records that 100 Continue has arrived.
func (u *upload) proceed() {
	select {
	case u.goAhead <- struct{}{}:
	default:
	}
}

// sendBody sends b as DATA frames, as far as the windows allow, and waits until they allow
// more. It returns false if the stream has ended.
func (s *stream) sendBody(b []byte, last bool) bool {
	l := s.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(b) > 0 || last {
		n := int(max(0, min(int64(len(b)), s.sendWindow, l.sendWindow, http2.DefaultMaxFrame)))
		switch {
		case l.streams[s.id] != s || l.err != nil:
			return false
		case len(l.out) >= maxOut || n == 0 && len(b) > 0:
			if !s.stalled {
				s.stalled, s.since = true, time.Now()
			}
			l.changed.Wait()
			continue
		}
		var flags http2.Flags
		if ends := last && n == len(b); ends {
			flags, last = http2.FlagEndStream, false
			s.uploading = false
		}
		frame := http2.AppendFrameHeader(l.out, n, http2.FrameData, flags, s.id)
		l.enqueue(append(frame, b[:n]...))
		b = b[n:]
		s.sendWindow -= int64(n)
		l.sendWindow -= int64(n)
		s.stalled, s.since, l.sentData = false, time.Now(), true
		l.wakeUp()
	}
	return true
}

// sendTrailers ends the request with a block of trailers.
func (s *stream) sendTrailers(block []byte) {
	l := s.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.streams[s.id] == s {
		s.uploading, s.since = false, time.Now()
		l.enqueue(http2.AppendHeaders(l.out, s.id, block, true, http2.DefaultMaxFrame))
		l.wakeUp()
	}
}

// failUpload resets s, whose request body cannot be read to its end.
func (l *http2Lane) failUpload(s *stream, why error) {
	if l.cancel(s, http2.Cancel) {
		s.pump.end(s, why, final) // a job with a body has a pump from the beginning
	}
}
