package engine

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/http1"
)

// A pipeline sends calls down one link without waiting for the answers, and
// gives each caller a future. Its script:
//
//	a caller    puts his call in line (pipe.add)
//	the first   writes what is in line, when others have had the time to join him,
//	            and so does who makes it enough
//	the reader  gives each answer to its future, in order
//
// When the link ends all futures fail, and with the reason.
type pipeline struct {
	*pipe
	cancel context.CancelCauseFunc // ends the reader
	places chan struct{}           // one token for each call that is not answered
}

// A future is an answer that is not there yet. Its sender may free it when wait has
// returned the answer, or why there is none; not when he did not want to wait.
type future struct {
	Job
	done   chan struct{} // gets one when the others are set
	answer whole
	kept   []byte // what answer points into
	err    error
}

// A whole is an answer that is all there. It is good until its future is freed.
type whole struct {
	status int
	fields []http1.Field
	body   []byte
}

var futures = sync.Pool{New: func() any { return &future{done: make(chan struct{}, 1)} }}

// free lets f, and the memory of its answer, be used for another call.
func (f *future) free() {
	kept := f.kept
	if cap(kept) > maxSpare { // rare, and most would not need it
		kept = nil
		clear(f.answer.fields[:cap(f.answer.fields)])
	}
	*f = future{done: f.done, answer: whole{fields: f.answer.fields[:0]}, kept: kept}
	futures.Put(f)
}

const (
	maxAhead = 64       // calls that are not answered
	enough   = 16       // for one write: with all 64 in one, the server and we wait in turns, and get 13 % fewer answers
	maxWhole = 1 << 20  // bytes of a body that others wait behind
	maxSpare = 32 << 10 // bytes of memory that a future keeps for the next answer
)

var (
	ErrNotIdempotent = errors.New("only what may be sent twice may be pipelined") // RFC 9112 §9.3.2
	ErrClosed        = errors.New("closed")
	ErrLastAnswer    = errors.New("the server has answered an earlier call with: Connection: close")
	errBodyUnread    = errors.New("a body that the server may leave unread, and take for the next call")
	errBodyTooLong   = errors.New("the body is too long for others to wait behind it")
)

// NewPipeline takes l over; close closes it.
func NewPipeline(l *client.Link, t client.Timeouts) *pipeline {
	ctx, cancel := context.WithCancelCause(context.Background())
	p := &pipeline{newPipe(ctx, l, nil, &t, maxAhead), cancel, make(chan struct{}, maxAhead)}
	go p.run() // ends when the link does; all futures are settled by then
	return p
}

// send puts c in line and returns its future. While there are too many in line
// it waits. Once it has returned c can be used again.
func (p *pipeline) send(ctx context.Context, c *client.Call) (*future, error) {
	switch {
	case !client.Idempotent(c.Method) || c.Stream != nil:
		return nil, ErrNotIdempotent
	case c.UnexpectedBody():
		return nil, errBodyUnread
	}
	if err := p.take(ctx); err != nil {
		return nil, err
	}
	f := futures.Get().(*future)
	f.Job = Job{Call: c, To: f, state: jobQueued}
	held, err := p.add([]*Job{&f.Job})
	if err != nil {
		<-p.places
		return nil, err
	}
	switch held {
	case 1:
		runtime.Gosched() // others who want to send may have something for the same write
		p.flush()
	case enough:
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

// wait returns the answer when it is there. It is called once. Who does not want
// to wait any longer leaves; the answer is then read and forgotten.
func (f *future) wait(ctx context.Context) (*whole, error) {
	if ctx.Done() == nil { // a select would be a twelfth of all that a call costs
		<-f.done
	} else {
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if f.err != nil {
		return nil, f.err
	}
	return &f.answer, nil
}

// Get makes a call and waits for the answer.
func (p *pipeline) Get(c *client.Call) error {
	f, err := p.send(context.Background(), c)
	if err != nil {
		return err
	}
	_, err = f.wait(context.Background())
	f.free()
	return err
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
			v.job.To.Head(v.answer)
		case laneData:
			if err := v.job.To.Data(v.piece); err != nil {
				return err
			}
		case laneAnswer:
			p.settle(v.job, nil)
		case laneEnd:
			return v.err
		}
	}
}

func (p *pipeline) settle(j *Job, why error) {
	j.To.End(why)
	<-p.places
}

// Close ends the pipeline; who is in line fails.
func (p *pipeline) Close() {
	p.fail(ErrClosed)
	p.cancel(ErrClosed)
	p.l.Interrupt()
}

func (f *future) Wanted() bool { return true }
func (f *future) Begun() bool  { return len(f.answer.body) > 0 }
func (f *future) Pause()       {}

func (f *future) Head(a *client.Answer) {
	f.answer.status = a.Status
	size := int(max(0, min(a.Length, maxWhole)))
	for _, h := range a.Fields {
		size += len(h.Name) + len(h.Value)
	}
	kept := slices.Grow(f.kept[:0], size) // one piece of memory for all of it
	f.kept = kept
	f.answer.fields = f.answer.fields[:0]
	for _, h := range a.Fields {
		n := len(kept)
		kept = append(append(kept, h.Name...), h.Value...)
		f.answer.fields = append(f.answer.fields, http1.Field{Name: kept[n : n+len(h.Name)], Value: kept[n+len(h.Name) : len(kept) : len(kept)]})
	}
	f.answer.body = kept[len(kept):]
}

func (f *future) Data(piece []byte) error {
	if f.answer.body = append(f.answer.body, piece...); len(f.answer.body) > maxWhole {
		return errBodyTooLong
	}
	return nil
}

func (f *future) End(why error) Flusher {
	f.err = why
	f.done <- struct{}{}
	return nil
}
