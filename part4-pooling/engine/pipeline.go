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

// A Pipeline sends requests on one connection without waiting for the responses
// between them, and returns a future for each. Any number of goroutines may use it.
// Its script:
//
//	a caller         encodes its request into the shared buffer (http1Lane.enqueue)
//	the first one    yields, so that others can add theirs, and writes the buffer
//	the batchSize-th writes the buffer immediately
//	the reader       completes the futures, in the order of the requests
//
// When the connection ends all futures fail with the reason.
type Pipeline struct {
	*http1Lane
	cancel   context.CancelCauseFunc // stops the reader
	inFlight chan struct{}           // one token for each request without a response
}

// A future is a response that has not arrived yet. Its caller may free it after wait
// has returned the response or its error, but not if wait gave up because its ctx was
// done.
type future struct {
	Job
	done     chan struct{} // receives one token when response and err are set
	response bufferedResponse
	buf      []byte // the memory that response points into
	err      error
}

// A bufferedResponse is a complete response. It is valid until its future is freed.
type bufferedResponse struct {
	status int
	fields []http1.Field
	body   []byte
}

var futures = sync.Pool{New: func() any { return &future{done: make(chan struct{}, 1)} }}

// free recycles f and the memory of its response.
func (f *future) free() {
	kept := f.buf
	if cap(kept) > maxKeptBuffer { // large responses are rare: do not keep memory for them
		kept = nil
		clear(f.response.fields[:cap(f.response.fields)])
	}
	*f = future{done: f.done, response: bufferedResponse{fields: f.response.fields[:0]}, buf: kept}
	futures.Put(f)
}

const (
	maxInFlight     = 64       // requests without a response
	batchSize       = 16       // requests in one write: with all 64 in one, client and server take turns waiting, and throughput is 13 % lower
	maxBufferedBody = 1 << 20  // bytes of one body, because later responses wait for its end
	maxKeptBuffer   = 32 << 10 // bytes of memory that a freed future keeps
)

var (
	// ErrNotIdempotent is returned for a request that must not be pipelined: a
	// non-idempotent method (RFC 9112 §9.3.2), or a streamed body.
	ErrNotIdempotent = errors.New("only idempotent requests without a streamed body may be pipelined")
	// ErrClosed is returned for requests without a response when the pipeline is
	// closed, and for all later ones.
	ErrClosed = errors.New("the pipeline is closed")
	// ErrServerClosing is returned for requests after one whose response ended the
	// connection. The server has not processed them (RFC 9112 §9.6), so all of them
	// may be sent again.
	ErrServerClosing = errors.New("an earlier response on the connection said Connection: close")

	errUnexpectedBody = errors.New("the server might not read this body, and parse it as the next request")
	errBodyTooLong    = errors.New("the body is too long to buffer")
)

// NewPipeline returns a pipeline on l, which it owns from now on: no other code may use
// l, and Close, or the end of the connection, closes it. At most 64 requests are in
// flight (maxInFlight). A pipeline does not wait for a first response before it sends
// more, so it is for servers that are known to keep their connections. Of t only Head
// and Idle apply. Its methods for other packages are Do, which sends a request and waits
// for the response, and Close.
func NewPipeline(l *client.Conn, t client.Timeouts) *Pipeline {
	ctx, cancel := context.WithCancelCause(context.Background())
	p := &Pipeline{newHTTP1Lane(ctx, l, nil, &t, maxInFlight), cancel, make(chan struct{}, maxInFlight)}
	go p.run() // ends when the connection does, after it has completed all futures; nothing waits for it
	return p
}

// send sends c, or leaves it to another caller's flush, and returns a future. It blocks
// while maxInFlight requests are in flight, until ctx is done. If it writes, ctx does not
// end that, because the write is also of other callers' requests: Timeouts.Idle does, or
// Close. The caller may reuse c when send has returned.
func (p *Pipeline) send(ctx context.Context, c *client.Request) (*future, error) {
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
		runtime.Gosched() // let other callers add their requests to this write
		p.flush()
	case batchSize:
		p.flush()
	}
	return f, nil
}

// acquire puts a token into inFlight. A select over one channel is cheaper than over
// two, so it tries without ctx first.
func (p *Pipeline) acquire(ctx context.Context) error {
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

// wait returns the response, valid until f is freed, or its error. It must be called
// once. If ctx is done first, wait returns its cause; the response is then read and
// discarded, and the caller must not free f.
func (f *future) wait(ctx context.Context) (*bufferedResponse, error) {
	if ctx.Done() == nil { // a select would cost a twelfth of the whole request
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

// Do sends c, waits for the response, and discards it. The error is that of the
// exchange: a sentinel of this package, or one of package client. The status does not
// matter.
func (p *Pipeline) Do(c *client.Request) error {
	f, err := p.send(context.Background(), c)
	if err != nil {
		return err
	}
	_, err = f.wait(context.Background())
	f.free()
	return err
}

// run completes futures until the connection ends; then it closes the connection and
// fails the futures that are left.
func (p *Pipeline) run() {
	why := p.readLoop()
	jobs := p.fail(why) // first: from now on no sender checks the connection
	p.conn.Close()
	p.cancel(nil)
	for _, j := range jobs {
		p.resolve(j, why)
	}
}

// readLoop completes futures until the connection ends, and returns the reason.
func (p *Pipeline) readLoop() error {
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

// resolve completes the future of j, and makes room for another request.
func (p *Pipeline) resolve(j *Job, why error) {
	j.Sink.End(why)
	<-p.inFlight
}

// Close fails all requests without a response with ErrClosed. It does not wait for the
// reader, which closes the connection.
func (p *Pipeline) Close() {
	p.fail(ErrClosed)
	p.cancel(ErrClosed)
	p.conn.Interrupt()
}

func (f *future) Wanted() bool        { return true }
func (f *future) Committed() bool     { return len(f.response.body) > 0 }
func (f *future) Pause() error        { return nil }
func (f *future) Trailers() error     { return nil }
func (f *future) WantsTrailers() bool { return false }
func (f *future) AwaitTurn()          {}
func (f *future) Room() int           { return maxBufferedBody }

func (f *future) Head(a *client.Response) {
	f.response.status = a.Status
	size := int(max(0, min(a.Length, maxBufferedBody)))
	for _, h := range a.Fields {
		size += len(h.Name) + len(h.Value)
	}
	kept := slices.Grow(f.buf[:0], size) // one allocation for the names, the values and the body
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
