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

// A pipeline sends calls down one connection without waiting for the responses, and
// gives each caller a future. Its script:
//
//	a caller    puts his call in line (http1Lane.enqueue)
//	the first   writes what is in line, when others have had the time to join him,
//	            and so does who makes it enough
//	the reader  gives each response to its future, in order
//
// When the connection ends all futures fail, and with the reason.
type pipeline struct {
	*http1Lane
	cancel   context.CancelCauseFunc // ends the reader
	inFlight chan struct{}           // one token for each request that is not answered
}

// A future is a response that is not there yet. Its sender may free it when wait has
// returned the response, or why there is none; not when he did not want to wait.
type future struct {
	Job
	done     chan struct{} // gets one when the others are set
	response bufferedResponse
	buf      []byte // what answer points into
	err      error
}

// A bufferedResponse is a response that is all there. It is good until its future is freed.
type bufferedResponse struct {
	status int
	fields []http1.Field
	body   []byte
}

var futures = sync.Pool{New: func() any { return &future{done: make(chan struct{}, 1)} }}

// free lets f, and the memory of its response, be used for another request.
func (f *future) free() {
	kept := f.buf
	if cap(kept) > maxKeptBuffer { // rare, and most would not need it
		kept = nil
		clear(f.response.fields[:cap(f.response.fields)])
	}
	*f = future{done: f.done, response: bufferedResponse{fields: f.response.fields[:0]}, buf: kept}
	futures.Put(f)
}

const (
	maxInFlight     = 64       // calls that are not answered
	batchSize       = 16       // for one write: with all 64 in one, the server and we wait in turns, and get 13 % fewer responses
	maxBufferedBody = 1 << 20  // bytes of a body that others wait behind
	maxKeptBuffer   = 32 << 10 // bytes of memory that a future keeps for the next response
)

var (
	ErrNotIdempotent  = errors.New("only what may be sent twice may be pipelined") // RFC 9112 §9.3.2
	ErrClosed         = errors.New("closed")
	ErrServerClosing  = errors.New("the server has answered an earlier call with: Connection: close")
	errUnexpectedBody = errors.New("a body that the server may leave unread, and take for the next call")
	errBodyTooLong    = errors.New("the body is too long for others to wait behind it")
)

// NewPipeline takes l over; close closes it.
func NewPipeline(l *client.Conn, t client.Timeouts) *pipeline {
	ctx, cancel := context.WithCancelCause(context.Background())
	p := &pipeline{newHTTP1Lane(ctx, l, nil, &t, maxInFlight), cancel, make(chan struct{}, maxInFlight)}
	go p.run() // ends when the connection does; all futures are settled by then
	return p
}

// send puts c in line and returns its future. While there are too many in line
// it waits. Once it has returned c can be used again.
func (p *pipeline) send(ctx context.Context, c *client.Request) (*future, error) {
	switch {
	case !client.IsIdempotent(c.Method) || c.Stream != nil:
		return nil, ErrNotIdempotent
	case c.HasUnexpectedBody():
		return nil, errUnexpectedBody
	}
	if err := p.acquire(ctx); err != nil {
		return nil, err
	}
	f := futures.Get().(*future)
	f.Job = Job{Request: c, Sink: f, state: jobQueued}
	held, err := p.enqueue([]*Job{&f.Job})
	if err != nil {
		<-p.inFlight
		return nil, err
	}
	switch held {
	case 1:
		runtime.Gosched() // others who want to send may have something for the same write
		p.flush()
	case batchSize:
		p.flush()
	}
	return f, nil
}

// acquire takes a place. That of two channels one is ready is dearer to find out
// than that the first is.
func (p *pipeline) acquire(ctx context.Context) error {
	select {
	case p.inFlight <- struct{}{}:
		return nil
	default:
	}
	select {
	case p.inFlight <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// wait returns the response when it is there. It is called once. Who does not want
// to wait any longer leaves; the response is then read and forgotten.
func (f *future) wait(ctx context.Context) (*bufferedResponse, error) {
	if ctx.Done() == nil { // a select would be a twelfth of all that a request costs
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
	return &f.response, nil
}

// Do makes a request and waits for the response.
func (p *pipeline) Do(c *client.Request) error {
	f, err := p.send(context.Background(), c)
	if err != nil {
		return err
	}
	_, err = f.wait(context.Background())
	f.free()
	return err
}

// run gives answers to futures until there will be no more, and then closes the
// connection and fails everybody who is still in line.
func (p *pipeline) run() {
	why := p.readLoop()
	jobs := p.fail(why) // first: nobody looks at the connection any more
	p.conn.Close()
	p.cancel(nil)
	for _, j := range jobs {
		p.resolve(j, why)
	}
}

func (p *pipeline) readLoop() error {
	for {
		switch v := p.read(); v.kind {
		case laneHead:
			v.job.Sink.Head(v.response)
		case laneData:
			if err := v.job.Sink.Data(v.piece); err != nil {
				return err
			}
		case laneResponseEnd:
			p.resolve(v.job, nil)
		case laneClosed:
			return v.err
		}
	}
}

func (p *pipeline) resolve(j *Job, why error) {
	j.Sink.End(why)
	<-p.inFlight
}

// Close ends the pipeline; who is in line fails.
func (p *pipeline) Close() {
	p.fail(ErrClosed)
	p.cancel(ErrClosed)
	p.conn.Interrupt()
}

func (f *future) Wanted() bool    { return true }
func (f *future) Committed() bool { return len(f.response.body) > 0 }
func (f *future) Pause()          {}

func (f *future) Head(a *client.Response) {
	f.response.status = a.Status
	size := int(max(0, min(a.Length, maxBufferedBody)))
	for _, h := range a.Fields {
		size += len(h.Name) + len(h.Value)
	}
	kept := slices.Grow(f.buf[:0], size) // one piece of memory for all of it
	f.buf = kept
	f.response.fields = f.response.fields[:0]
	for _, h := range a.Fields {
		n := len(kept)
		kept = append(append(kept, h.Name...), h.Value...)
		f.response.fields = append(f.response.fields, http1.Field{Name: kept[n : n+len(h.Name)], Value: kept[n+len(h.Name) : len(kept) : len(kept)]})
	}
	f.response.body = kept[len(kept):]
}

func (f *future) Data(piece []byte) error {
	if f.response.body = append(f.response.body, piece...); len(f.response.body) > maxBufferedBody {
		return errBodyTooLong
	}
	return nil
}

func (f *future) End(why error) Flusher {
	f.err = why
	f.done <- struct{}{}
	return nil
}
