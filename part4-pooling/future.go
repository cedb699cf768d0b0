package main

import (
	"context"
	"errors"
	"runtime"
)

// A pipeline sends calls down one link without waiting for the answers, and
// gives each caller a future. Its script:
//
//	a caller    puts his call in line (pipe.add)
//	the first   writes what is in line, when others have had the time to join him
//	the reader  gives each answer to its future, in order
//
// When the link ends all futures fail, and with the reason.
type pipeline struct {
	*pipe
	cancel context.CancelCauseFunc // ends the reader
	places chan struct{}           // one token for each call that is not answered
}

// A future is an answer that is not there yet.
type future struct {
	job
	done   chan struct{} // closed when the others are set
	answer whole
	err    error
}

// A whole is an answer that is all there, in memory of its own.
type whole struct {
	status int
	fields []field
	body   []byte
}

const (
	maxAhead = 64      // calls that are not answered
	maxWhole = 1 << 20 // bytes of a body that others wait behind
)

var (
	ErrNotIdempotent = errors.New("only what may be sent twice may be pipelined") // RFC 9112 §9.3.2
	ErrClosed        = errors.New("closed")
	ErrLastAnswer    = errors.New("the server has answered an earlier call with: Connection: close")
	errBodyTooLong   = errors.New("the body is too long for others to wait behind it")
)

// newPipeline takes l over; close closes it.
func newPipeline(l *link, t timeouts) *pipeline {
	ctx, cancel := context.WithCancelCause(context.Background())
	p := &pipeline{newPipe(ctx, l, &t, maxAhead), cancel, make(chan struct{}, maxAhead)}
	go p.run() // ends when the link does; all futures are settled by then
	return p
}

// send puts c in line and returns its future. While there are too many in line
// it waits. Once it has returned c can be used again.
func (p *pipeline) send(ctx context.Context, c *call) (*future, error) {
	if !idempotent(c.method) || c.stream != nil {
		return nil, ErrNotIdempotent
	}
	if err := p.take(ctx); err != nil {
		return nil, err
	}
	f := &future{job: job{call: c, state: jobQueued}, done: make(chan struct{})}
	f.to = f
	first, err := p.add([]*job{&f.job})
	if err != nil {
		<-p.places
		return nil, err
	}
	if first {
		runtime.Gosched() // others who want to send may have something for the same write
		p.flush()
	}
	return f, nil
}

// take takes a place. That of two channels one is ready is dearer to find out
// than that the first is.
func (p *pipeline) take(ctx context.Context) error {
	select {
	case p.places <- struct{}{}:
		return nil
	default:
	}
	select {
	case p.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// wait returns the answer when it is there. Who does not want to wait any
// longer leaves; the answer is then read and forgotten.
func (f *future) wait(ctx context.Context) (*whole, error) {
	select {
	case <-f.done:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if f.err != nil {
		return nil, f.err
	}
	return &f.answer, nil
}

// run gives answers to futures until there will be no more, and then closes the
// link and fails everybody who is still in line.
func (p *pipeline) run() {
	why := p.receive()
	jobs := p.fail(why) // first: nobody looks at the link any more
	p.l.Close()
	p.cancel(nil)
	for _, j := range jobs {
		p.settle(j, why)
	}
}

func (p *pipeline) receive() error {
	for {
		switch v := p.read(); v.kind {
		case laneHead:
			v.job.to.head(v.answer)
		case laneData:
			if err := v.job.to.data(v.piece); err != nil {
				return err
			}
		case laneAnswer:
			p.settle(v.job, nil)
		case laneEnd:
			return v.err
		}
	}
}

func (p *pipeline) settle(j *job, why error) {
	j.to.end(why)
	<-p.places
}

// close ends the pipeline; who is in line fails.
func (p *pipeline) close() {
	p.fail(ErrClosed)
	p.cancel(ErrClosed)
	p.l.interrupt()
}

func (f *future) wanted() bool { return true }
func (f *future) begun() bool  { return len(f.answer.body) > 0 }
func (f *future) pause()       {}

func (f *future) head(a *answer) {
	f.answer.status = a.status
	size := int(max(0, min(a.length, maxWhole)))
	for _, h := range a.fields {
		size += len(h.name) + len(h.value)
	}
	keep := make([]byte, 0, size) // one piece of memory for all of it
	f.answer.fields = make([]field, 0, len(a.fields))
	for _, h := range a.fields {
		n := len(keep)
		keep = append(append(keep, h.name...), h.value...)
		f.answer.fields = append(f.answer.fields, field{keep[n : n+len(h.name)], keep[n+len(h.name) : len(keep) : len(keep)]})
	}
	f.answer.body = keep[len(keep):]
}

func (f *future) data(piece []byte) error {
	if f.answer.body = append(f.answer.body, piece...); len(f.answer.body) > maxWhole {
		return errBodyTooLong
	}
	return nil
}

func (f *future) end(why error) {
	f.err = why
	close(f.done)
}
