package engine

import (
	"context"
	"errors"
	"fmt"
	"io"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/pool"
)

// The reading half of an http1Lane. Its goroutine is the only one that reads from the
// connection, except in checkIdle, when no job is in flight.

var (
	errNoMoreJobs = errors.New("no more requests")
	errConnAuth   = errors.New("the backend authenticates connections: this one must not be shared")
)

// read returns the next event. Before it blocks it returns laneIdle, once.
func (p *http1Lane) read() laneEvent {
	switch {
	case p.readErr != nil:
		return laneEvent{kind: laneClosed, err: p.readErr}
	case p.current != nil:
		return p.readBody()
	}
	l := p.conn
	j, err := p.oldestJob(p.paused)
	if j != nil {
		l.SkipEmptyLines()
	}
	switch {
	case err != nil:
		return p.endReading(err)
	case !p.paused && (j == nil || http1.HeadLength(l.Buf[l.R:l.W], 0) == 0): // without a job only the writer may check the connection
		p.paused = true
		return laneEvent{kind: laneIdle}
	}
	p.paused = false
	return p.readHead(j)
}

// readHead waits for the head of the response to j.
func (p *http1Lane) readHead(j *Job) laneEvent {
	l := p.conn
	p.response = client.Response{ResponseHead: http1.ResponseHead{Fields: l.Fields}, Conn: l, Ctx: p.ctx, IdleTimeout: p.timeouts.Idle, OnInterim: j.onInterim}
	err := p.response.ReadHead(framingMethod[j.isHEAD], p.timeouts.Head)
	l.Fields = p.response.Fields
	switch {
	case err != nil:
		return p.endReading(err)
	case p.persistent && p.response.IsIdleTimeout(): // not the response to j: see client.Conn.IsStale408
		return p.endReading(fmt.Errorf("%w: the server sent 408, because the connection was idle for too long", client.ErrEnded))
	}
	j.moveTo(jobResponding)
	p.current = j
	return laneEvent{kind: laneHead, job: j, response: &p.response, unreliable: !p.response.Persists() && p.isUnreliable()}
}

// isUnreliable reports whether a response that ends the connection should be requested
// again: later requests on the connection may cause it to be truncated (noteClose), or
// it is a 408 that the server sent before it saw the request (client.Conn.IsStale408).
func (p *http1Lane) isUnreliable() bool {
	return p.noteClose() && !p.bodyBuffered() || p.persistent && p.response.Status == 408
}

// noteClose records that the current response ends the connection: nothing more is
// sent (MUST, RFC 9112 §9.6). It reports whether later requests are already in flight.
// If the backend closes before it has read those, its kernel sends a RST, and ours may
// discard the end of the response (RFC 9112 §9.6, RFC 1122 §4.2.2.13).
func (p *http1Lane) noteClose() (behind bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = ErrServerClosing
	}
	return len(p.jobs) > 1
}

// bodyBuffered reports whether a body of known length has arrived completely with its
// head.
func (p *http1Lane) bodyBuffered() bool {
	return p.response.Length >= 0 && p.response.Length <= int64(p.conn.W-p.conn.R)
}

// framingMethod maps isHEAD to a method with the same response framing: of GET, HEAD and
// the rest, only HEAD differs.
var framingMethod = map[bool][]byte{true: []byte("HEAD"), false: []byte("GET")}

// readBody returns the next piece of the body, its trailers, its end, or laneIdle.
func (p *http1Lane) readBody() laneEvent {
	p.conn.HeadEnd = 0 // the head is no longer needed: the buffer may reuse its space
	if p.bodyEnded {
		return p.finishResponse()
	}
	for {
		piece, err := p.response.TryNext()
		if piece == nil && err == nil && !p.paused {
			p.paused = true
			return laneEvent{kind: laneIdle, job: p.current}
		} else if piece == nil && err == nil {
			err = p.response.WaitMore()
		}
		p.paused = false
		switch {
		case err == io.EOF && len(p.response.Trailers) > 0:
			p.bodyEnded = true
			return laneEvent{kind: laneTrailers, job: p.current}
		case err == io.EOF:
			return p.finishResponse()
		case err != nil:
			return p.endReading(err)
		case piece != nil:
			return laneEvent{kind: laneData, job: p.current, piece: piece}
		}
	}
}

// oldestJob returns the job whose response is next. If no job is in flight it waits for
// one, or, without wait, returns nil.
func (p *http1Lane) oldestJob(wait bool) (*Job, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case len(p.jobs) > 0:
			return p.jobs[0], nil
		case p.err != nil:
			return nil, p.err
		case p.writeClosed:
			return nil, errNoMoreJobs
		case !wait:
			return nil, nil
		}
		p.jobsChanged.Wait()
	}
}

// finishResponse ends the current response. Bytes that follow it while no job is in
// flight are unsolicited: checkIdle classifies them as the pool does, and reports them.
func (p *http1Lane) finishResponse() laneEvent {
	j := p.current
	p.current, p.bodyEnded = nil, false
	clean := p.response.Detach()
	p.conn.KeepAliveTimeout = p.response.KeepAliveTimeout
	p.mu.Lock()
	defer p.mu.Unlock()
	p.jobs = append(p.jobs[:0], p.jobs[1:]...)
	p.persistent = true
	switch {
	case p.response.ConnAuth:
		p.readErr = errConnAuth
	case !p.response.Persists():
		p.readErr = ErrServerClosing
	case !clean:
		p.readErr = context.Cause(p.ctx)
	case len(p.jobs) == 0 && !p.conn.IsQuiet():
		p.readErr = p.checkIdle()
	}
	if p.err == nil {
		p.err = p.readErr
	}
	return laneEvent{kind: laneResponseEnd, job: j}
}

// endReading ends the lane: no more jobs are accepted, and every later read returns
// laneClosed.
func (p *http1Lane) endReading(why error) laneEvent {
	p.response.Detach()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.readErr = why
	if p.err == nil {
		p.err = why
	}
	if why == pool.ErrQuarantined {
		p.conn.Fault = why
	}
	return laneEvent{kind: laneClosed, err: why}
}
