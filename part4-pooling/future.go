package main

import (
	"context"
	"errors"
	"io"
	"runtime"
	"slices"
	"sync"
)

// A pipeline sends calls down one link without waiting for the answers, and
// gives each caller a future. Nothing in an answer says which call it is for:
// the first answer is for the first call, and so on. Its script:
//
//	a caller    appends its call to out and its future to the queue, in one go
//	a caller    writes what is in out, unless another one is at it and will
//	the reader  reads an answer, gives it to the first future, and goes on
//
// When the link ends all futures fail, and with the reason.
type pipeline struct {
	l       *link
	t       timeouts
	ctx     context.Context // ends the reader
	cancel  context.CancelCauseFunc
	places  chan struct{} // one token for each call that is not answered
	writeMu sync.Mutex    // held by the one who writes

	mu    sync.Mutex // guards what follows
	more  sync.Cond  // queue is not empty any more, or err is set
	queue []*future
	out   []byte
	err   error // no more calls, and why
}

// A future is an answer that is not there yet.
type future struct {
	method []byte
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
	p := &pipeline{l: l, t: t, places: make(chan struct{}, maxAhead)}
	p.more.L = &p.mu
	p.ctx, p.cancel = context.WithCancelCause(context.Background())
	go p.read() // ends when the link does; all futures are settled by then
	return p
}

// send puts c in line and returns its future. While there are too many in line
// it waits.
func (p *pipeline) send(ctx context.Context, c *call) (*future, error) {
	if !idempotent(c.method) || c.stream != nil {
		return nil, ErrNotIdempotent
	}
	select {
	case p.places <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	f := &future{method: slices.Clone(c.method), done: make(chan struct{})}
	p.mu.Lock()
	if p.err == nil && len(p.queue) == 0 {
		p.err = p.l.check() // nobody reads now, so we can look; and nobody has asked for anything
	}
	if err := p.err; err != nil {
		p.more.Signal()
		p.mu.Unlock()
		<-p.places
		return nil, err
	}
	p.out = c.appendTo(p.out)
	p.queue = append(p.queue, f)
	p.more.Signal()
	p.mu.Unlock()
	runtime.Gosched() // others who want to send may have something for the same write
	p.write()
	return f, nil
}

// write sends what is in out, unless somebody else has.
func (p *pipeline) write() {
	p.writeMu.Lock()
	defer p.writeMu.Unlock()
	p.mu.Lock()
	out := p.out
	p.out = nil
	p.mu.Unlock()
	if len(out) > 0 {
		p.l.SetWriteDeadline(deadline(p.t.idle))
		p.l.File.Write(out) // if it fails the reader will see the end, and perhaps answers before it
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

// read gives answers to futures until there will be no more.
func (p *pipeline) read() {
	var err error
	for first := p.first(); first != nil; first = p.first() {
		var stays bool
		if stays, err = p.receive(first); err != nil {
			break
		}
		p.mu.Lock()
		p.queue[0] = nil
		p.queue = p.queue[1:]
		if !stays && p.err == nil {
			p.err = ErrLastAnswer
		}
		empty := len(p.queue) == 0 && p.l.r < p.l.w
		if p.err == nil && empty {
			p.err = ErrUnsolicited
		}
		stop := p.err
		p.mu.Unlock()
		close(first.done)
		<-p.places
		if err = stop; err != nil {
			break
		}
	}
	p.end(err)
}

// first waits until somebody waits. It returns nil when nobody ever will.
func (p *pipeline) first() *future {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) == 0 && p.err == nil {
		p.more.Wait()
	}
	if p.err != nil && len(p.queue) == 0 {
		return nil
	}
	return p.queue[0]
}

// receive reads the answer for f.
func (p *pipeline) receive(f *future) (stays bool, err error) {
	r := &answer{l: p.l, ctx: p.ctx, idle: p.t.idle}
	p.l.base = 0
	if err := r.readHead(f.method, p.t.head); err != nil {
		return false, err
	}
	f.answer.status = r.status
	for _, h := range r.fields {
		f.answer.fields = append(f.answer.fields, field{slices.Clone(h.name), slices.Clone(h.value)})
	}
	for {
		piece, err := r.next()
		if err == io.EOF {
			return r.stays(), nil
		} else if err != nil {
			return false, err
		}
		if f.answer.body = append(f.answer.body, piece...); len(f.answer.body) > maxWhole {
			return false, errBodyTooLong
		}
	}
}

// end closes the link and fails everybody who is still in line.
func (p *pipeline) end(why error) {
	p.l.Close()
	p.cancel(nil)
	p.mu.Lock()
	if p.err == nil {
		p.err = why
	}
	queue := p.queue
	p.queue = nil
	p.mu.Unlock()
	for _, f := range queue {
		f.err = p.err
		close(f.done)
		<-p.places
	}
}

// close ends the pipeline; who is in line fails.
func (p *pipeline) close() {
	p.mu.Lock()
	if p.err == nil {
		p.err = ErrClosed
	}
	p.more.Signal()
	p.mu.Unlock()
	p.cancel(ErrClosed)
	p.l.interrupt()
}
