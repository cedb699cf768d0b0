package engine

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/http1"
)

const (
	MaxQueue     = 64       // jobs that wait for an engine; past that a request goes its own way
	maxDiscarded = 64 << 10 // bytes of a response that are read for nobody, for those behind it
)

// An Engine sends the jobs of one client to one backend over one connection. Its
// script:
//
//	the offloader  pushes jobs, in the order of the requests (registry.go)
//	the writer     takes what is in the queue, and writes it in one go
//	the reader     gives each response to its job, piece by piece, as the sink takes it
//
// The engine is not a part of any request. It begins with the first job, and
// retires when it has had none for a while; in between it may lose its
// connection and go on with another. Three can be gone, and it means three things:
//
//	nobody wants a response  the job is withdrawn, or its response read and forgotten
//	the client has gone      all jobs are withdrawn, and the engine retires
//	the backend has gone     see resolveUnanswered; the engine goes on
//
// No two engines wait for each other's answers: the queue is in the order of the
// client's line of slots, so the job at the head of the line is the oldest of its
// engine, and nothing is in its way. What they may wait for is a connection, and
// that has its limit (-backend-wait).
type Engine struct {
	registry     *Registry
	addr         string
	ctx          context.Context // done when the client has gone
	openLane     opener
	idleTime     time.Duration
	Number       uint64 // of the request for its connection, in the client's line
	counts       *Counts
	batch        []*Job  // the writer's
	pendingFlush Flusher // the reader's: the client has answers that are not written yet
	finished     int     // the reader's: jobs that the lane does not have any more, and inFlight still counts

	wake     chan struct{} // has a token when the writer should look again
	queue    []*Job        // guarded by home.mu
	inFlight int           // jobs that the lane has; guarded by home.mu

	unregistered bool // no more jobs will be pushed; the writer's

	// Of the lane in use: the reader's, and the writer's when the reader has ended.
	readerDone  chan struct{} // closed when the reader has ended
	gotResponse bool          // it has answered something
	unsent      []*Job        // it did not take them
	laneErr     error         // it ended
}

// An opener opens an engine's first lane; the others come of lane.renew. When ctx is
// done it opens none and says so.
type opener func(ctx context.Context) (Lane, error)

// New makes an engine for a registry to start.
func New(open opener, linger time.Duration, counts *Counts) *Engine {
	counts.Engines.Add(1)
	return &Engine{openLane: open, idleTime: linger, counts: counts, wake: make(chan struct{}, 1)}
}

var (
	errClientGone   = errors.New("the client has gone")
	errDiscardLimit = errors.New("nobody wants the rest of the answer")
	errUnreliable   = errors.New("the answer is not to be relied on")
)

func (e *Engine) wakeUp() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// runWriter is the writer. It has one lane after the other, until there is neither a
// lane nor a job.
func (e *Engine) runWriter() {
	var lost Lane
	for {
		l, err := e.connectLane(lost)
		if err != nil {
			e.failQueued(err)
			break
		}
		if lost = e.runLane(l); lost == nil {
			break
		}
	}
	e.counts.Retired.Add(1)
}

// connectLane opens a lane. When the client has gone none is needed instead of one
// that was lost; but a first one is asked for even then, for what has been kept
// for it must be given back.
func (e *Engine) connectLane(lost Lane) (Lane, error) {
	switch {
	case lost == nil:
		return e.openLane(e.ctx)
	case e.ctx.Err() != nil:
		lost.Close()
		return nil, context.Cause(e.ctx)
	}
	return lost.redial(e.ctx)
}

// runLane uses l as long as it is of use. It returns it when jobs are left that
// another lane has to carry: that one takes its place in the pool, so that they
// are not overtaken by requests behind them.
func (e *Engine) runLane(l Lane) (lost Lane) {
	e.readerDone, e.gotResponse, e.unsent, e.laneErr = make(chan struct{}), false, nil, nil
	go e.readLoop(l)
	e.writeLoop(l)
	l.closeWrite()
	<-e.readerDone
	if e.resolveUnanswered(l) {
		return l
	}
	l.Close()
	return nil
}

// writeLoop brings jobs onto l, until the lane has ended or should be given back. Then
// what is in the queue goes first; what is pushed later gets a new engine, which asks
// for its connection in its turn. (push does not put a job behind a request of its
// own client that waits: registry.go.)
func (e *Engine) writeLoop(l Lane) {
	idle := time.NewTimer(e.idleTime)
	defer idle.Stop()
	for {
		e.counts.Iterations.Add(1)
		if l.shouldReturn() {
			e.registry.unregister(e)
		}
		batch, busy := e.takeBatch(l)
		switch {
		case e.ctx.Err() != nil || !busy && e.unregistered:
			e.requeue(batch)
			return
		case len(batch) > 0:
			if !e.send(l, batch) {
				return
			}
			continue
		case !busy:
			idle.Reset(e.idleTime)
		default:
			idle.Stop()
		}
		select {
		case <-e.wake:
		case <-e.readerDone:
			return
		case <-idle.C:
			if e.registry.retire(e) {
				return
			}
		}
	}
}

// takeBatch moves what l has room for out of the queue, and says whether there is
// anything to do.
func (e *Engine) takeBatch(l Lane) (batch []*Job, busy bool) {
	e.registry.mu.Lock()
	defer e.registry.mu.Unlock()
	busy = e.inFlight > 0 || len(e.queue) > 0
	if n := min(len(e.queue), l.capacity()); n > 0 {
		batch = append(e.batch[:0], e.queue[:n]...)
		e.batch = batch
		e.queue = slices.Delete(e.queue, 0, n)
		e.inFlight += n
	}
	return batch, busy
}

// send writes a batch, without those that nobody waits for any more.
func (e *Engine) send(l Lane, batch []*Job) bool {
	all := len(batch)
	batch = slices.DeleteFunc(batch, func(j *Job) bool {
		if !j.Sink.Wanted() {
			e.finishJob(j, jobWithdrawn, nil)
			return true
		}
		return false
	})
	if len(batch) < all {
		e.removeInFlight(all - len(batch))
	}
	switch {
	case len(batch) == 0:
		return true
	case !l.write(batch):
		e.unsent = batch
		return false
	}
	e.counts.Writes.Add(1)
	return true
}

// readLoop gives answers to jobs until the lane has ended.
func (e *Engine) readLoop(l Lane) {
	defer close(e.readerDone)
	for e.laneErr == nil {
		switch v := l.read(); v.kind {
		case laneHead:
			if v.unreliable {
				e.laneErr = errUnreliable
				break
			}
			v.job.Sink.Head(v.response)
		case laneData:
			e.deliver(v.job, v.piece)
		case laneResponseEnd:
			e.gotResponse = true
			e.finishJob(v.job, jobDone, nil)
			e.finished++
		case laneIdle:
			e.onIdle(v.job)
		case laneClosed:
			e.laneErr = v.err
		}
	}
	e.removeInFlight(e.finished)
	e.finished = 0
}

// deliver gives a piece to its job. What nobody takes is passed over, but not for
// long: a new connection costs less.
func (e *Engine) deliver(j *Job, piece []byte) {
	if j.Sink.Data(piece) == nil {
		return
	}
	if j.discarded += len(piece); j.discarded > maxDiscarded {
		e.laneErr = errDiscardLimit
	}
}

// onIdle is when all that has come is passed on: time to let the writer have the
// room that was made, and the client what is there for it.
func (e *Engine) onIdle(j *Job) {
	e.registry.mu.Lock()
	e.inFlight -= e.finished
	e.finished = 0
	look := len(e.queue) > 0 || e.inFlight == 0
	e.registry.mu.Unlock()
	if look {
		e.wakeUp()
	}
	if e.flushPending(); j != nil {
		j.Sink.Pause()
	}
}

// removeInFlight notes that n jobs are no longer on the lane.
func (e *Engine) removeInFlight(n int) {
	e.registry.mu.Lock()
	e.inFlight -= n
	e.registry.mu.Unlock()
}

// requeue returns jobs to the front of the queue, in their order. If there are none
// in it then the engine is taken out, and requeue returns false.
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

// resolveUnanswered decides what becomes of the jobs that a lane has left, and returns
// whether they, or others in the queue, need another one. All of them are safe to do twice: what
// is not is never pushed.
//
//	nobody waits for it            withdrawn
//	a part of the response is out  failed: cut
//	its time was up                failed
//	its response was none          failed: a bad one is not asked for twice
//	the backend never saw it       once more, and that is free
//	its response is unreliable     once more, free too: on a fresh connection it is alone
//	nobody knows                   once more, if this was the first time
//
// So that a backend which closes at once is not asked for ever, the oldest has
// been tried when its lane has answered nothing at all. That we ended the lane,
// because nobody wants a response, is not a try.
func (e *Engine) resolveUnanswered(l Lane) (again bool) {
	written := l.inFlight()
	left := slices.Concat(written, e.unsent)
	var jobs []*Job
	for i, j := range left {
		touched := i < len(written) && !l.unprocessed(j)
		if e.laneErr != errUnreliable && (touched && e.laneErr != errDiscardLimit || i == 0 && !e.gotResponse) {
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

// isFinal says whether the backend had its time, or has said what is no response. It
// would do so again, and the pool does not ask again either (retry.go, mayRetry).
func isFinal(err error) bool {
	return errors.Is(err, client.ErrHeadTimeout) || errors.Is(err, client.ErrBodyTimeout) || errors.Is(err, http1.ErrBadResponse)
}

// failQueued fails all who wait for a connection that is not to be had.
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

// finishJob is the last that happens to j.
func (e *Engine) finishJob(j *Job, how jobState, why error) {
	e.counts.byState[how].Add(1)
	j.moveTo(how)
	if f := j.Sink.End(why); f != nil { // nil if the writer ends what nobody wants
		e.pendingFlush = f
	}
}

// flushPending writes the responses that have ended to the client.
func (e *Engine) flushPending() {
	if e.pendingFlush != nil {
		e.pendingFlush.Flush()
		e.pendingFlush = nil
	}
}

// Counts are of all engines of a gateway.
type Counts struct {
	Engines, Retired, Pushed, Direct, Writes, Retried, Iterations atomic.Uint64
	byState                                                       [jobWithdrawn + 1]atomic.Uint64 // by state
}

// Stats are the figures of Counts.
type Stats struct {
	Engines    uint64 `json:"engines"` // at work now
	HandedOver uint64 `json:"handed_over"`
	Direct     uint64 `json:"alone"` // requests that could not be
	Done       uint64 `json:"done"`
	Failed     uint64 `json:"failed"`
	Withdrawn  uint64 `json:"withdrawn"` // nobody wanted the response any more
	Retried    uint64 `json:"again"`     // once more, on another connection
	Writes     uint64 `json:"writes"`    // so many for what was handed over
}

func (c *Counts) Snapshot() Stats {
	retired := c.Retired.Load() // first: it must not be more than there were
	return Stats{c.Engines.Load() - retired, c.Pushed.Load(), c.Direct.Load(), c.byState[jobDone].Load(), c.byState[jobFailed].Load(),
		c.byState[jobWithdrawn].Load(), c.Retried.Load(), c.Writes.Load()}
}
