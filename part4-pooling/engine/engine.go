package engine

import (
	"context"
	"errors"
	"slices"
	"time"
)

// MaxQueue is how many jobs may wait in one engine's queue. Registry.Push refuses more,
// and a handler sends the request instead.
const MaxQueue = 64

const maxDiscarded = 64 << 10 // bytes of an unwanted response that are read to reach the next one; beyond that a new connection is cheaper

// An Engine sends the jobs of one client to one backend over one connection. (The
// word is Apache's: the request engines of mod_http2, h2_ngn_shed.c, did this for
// mod_proxy_http2.) Its script:
//
//	the caller  pushes jobs, in the order of the client's requests (Registry.Push)
//	the writer  takes all queued jobs that fit, and sends them in one write
//	the reader  passes each response to its job's sink, piece by piece, as fast as the sink takes it
//
// An engine outlives its requests. It starts with the first job, and retires when it
// has had none for idleTime; meanwhile it may lose its connection and continue on
// another. "Gone" has three meanings:
//
//	a response is no longer wanted  the job is withdrawn, or its response is read and discarded
//	the client has gone             all jobs are withdrawn, and the engine retires
//	the connection has ended        resolveUnanswered decides for each job; the engine continues
//
// Two engines of a client cannot deadlock over responses: each queue is in the order
// of the client's response queue, so the job at the head of that is the oldest of
// its engine, and no other job is ahead of it. Engines may wait for a connection,
// but no longer than the pool's MaxWait (-backend-wait).
type Engine struct {
	registry     *Registry
	addr         string
	ctx          context.Context // done when the client has gone
	openLane     Opener
	idleTime     time.Duration
	Number       uint64 // of the request that reserved its connection, in the client's line
	counts       *Counts
	batch        []*Job  // the writer's scratch space
	pendingFlush Flusher // the reader's: holds complete responses that are not written to the client yet
	finished     int     // the reader's: jobs that have left the lane but are still counted in inFlight

	wake         chan struct{} // holds a token when the writer should check its queue
	queue        []*Job        // guarded by registry.mu
	inFlight     int           // jobs on the lane; guarded by registry.mu
	unregistered bool          // no more jobs will be pushed; the writer's

	// Of the current lane. The reader writes them; the writer may read them when
	// readerDone is closed. (unsent is the writer's.)
	readerDone  chan struct{} // closed when the reader has ended
	gotResponse bool          // the lane has delivered at least one response
	unsent      []*Job        // the batch that the lane refused
	laneErr     error         // why the lane ended
}

// New returns an engine that is not running yet: only the create function of
// Registry.Push calls it, and Push starts the engine. An engine without jobs retires
// after linger. counts is shared by all engines of a gateway. The caller sets Number
// before create returns.
func New(open Opener, linger time.Duration, counts *Counts) *Engine {
	counts.Engines.Add(1)
	return &Engine{openLane: open, idleTime: linger, counts: counts, wake: make(chan struct{}, 1)}
}

var (
	errClientGone   = errors.New("the client has gone")
	errDiscardLimit = errors.New("the rest of an unwanted response is too long to discard")
	errUnreliable   = errors.New("the response may be incomplete, or not belong to the request")
)

// wakeUp makes the writer check its queue. It does not block.
func (e *Engine) wakeUp() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// runWriter is the writer goroutine. It uses one lane after another until no job is
// left, or no lane can be opened.
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

// runLane uses l until it ends or should be returned. If jobs are left that need
// another lane it returns l, still open: the next lane inherits its permit (redial),
// so that later requests do not overtake those jobs. Otherwise it closes l.
func (e *Engine) runLane(l Lane) (lost Lane) {
	e.readerDone, e.gotResponse, e.unsent, e.laneErr = make(chan struct{}), false, nil, nil
	go e.readLoop(l) // ends when the lane does; runLane waits for it
	e.writeLoop(l)
	l.closeWrite()
	<-e.readerDone
	if e.resolveUnanswered(l) {
		return l
	}
	l.Close()
	return nil
}

// writeLoop writes jobs to l until the lane has ended, should be returned to the
// pool, or has had no job for idleTime. If it should be returned, the jobs already in
// the queue are still sent; later ones get a new engine, which reserves its own
// connection in the order of the requests (Registry.Push).
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

// takeBatch moves as many jobs as l has capacity for out of the queue. busy reports
// whether the engine had any job, queued or in flight.
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

// send writes a batch, without the jobs whose responses are no longer wanted. It
// returns false if the lane has ended.
func (e *Engine) send(l Lane, batch []*Job) bool {
	all := len(batch)
	batch = slices.DeleteFunc(batch, func(j *Job) bool {
		if !j.Sink.Wanted() {
			if f := e.endJob(j, jobWithdrawn, nil); f != nil {
				f.Flush() // not pendingFlush: that is the reader's
			}
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

// readLoop is the reader goroutine: it passes responses to their jobs until the lane
// has ended.
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
		case laneTrailers:
			if v.job.Sink.Trailers() == ErrGiveBack {
				e.laneErr = ErrGiveBack
			}
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
	if e.laneErr != errNoMoreJobs { // the connection ends: the writer must not wait for a backend that does not read
		l.stopWriting()
	}
	e.removeInFlight(e.finished)
	e.finished = 0
}

// deliver passes a piece of a body to the job's sink. If the sink refuses it the piece
// is discarded; after maxDiscarded bytes a new connection is cheaper, and the lane ends.
func (e *Engine) deliver(j *Job, piece []byte) {
	switch err := j.Sink.Data(piece); err {
	case nil:
	case ErrGiveBack:
		e.laneErr = err
	default:
		if j.discarded += len(piece); j.discarded > maxDiscarded {
			e.laneErr = errDiscardLimit
		}
	}
}

// onIdle runs before the reader blocks, when everything that has arrived is passed
// on. It tells the writer that the lane has capacity again, and flushes responses to
// the client. j is the job whose response is incomplete, or nil.
func (e *Engine) onIdle(j *Job) {
	e.registry.mu.Lock()
	e.inFlight -= e.finished
	e.finished = 0
	look := len(e.queue) > 0 || e.inFlight == 0
	e.registry.mu.Unlock()
	if look {
		e.wakeUp()
	}
	if e.flushPending(); j != nil && j.Sink.Pause() == ErrGiveBack {
		e.laneErr = ErrGiveBack
	}
}

// removeInFlight records that n jobs have left the lane.
func (e *Engine) removeInFlight(n int) {
	e.registry.mu.Lock()
	e.inFlight -= n
	e.registry.mu.Unlock()
}

// finishJob moves j to a final state and ends its sink: the engine no longer owns it.
func (e *Engine) finishJob(j *Job, how jobState, why error) {
	if f := e.endJob(j, how, why); f != nil {
		e.pendingFlush = f
	}
}

// endJob ends j in its final state how. It returns what the sink has to flush, or nil.
func (e *Engine) endJob(j *Job, how jobState, why error) Flusher {
	return e.counts.end(j, how, why)
}

// flushPending writes complete responses to the client.
func (e *Engine) flushPending() {
	if e.pendingFlush != nil {
		e.pendingFlush.Flush()
		e.pendingFlush = nil
	}
}
