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
	MaxQueue    = 64       // jobs that wait for an engine; past that a request goes its own way
	maxUnwanted = 64 << 10 // bytes of an answer that are read for nobody, for those behind it
)

// An Engine sends the jobs of one client to one backend over one connection. Its
// script:
//
//	the taker   pushes jobs, in the order of the requests (registry.go)
//	the writer  takes what is in the queue, and writes it in one go
//	the reader  gives each answer to its job, piece by piece, as the sink takes it
//
// The engine is not a part of any request. It begins with the first job, and
// retires when it has had none for a while; in between it may lose its
// connection and go on with another. Three can be gone, and it means three things:
//
//	nobody wants an answer   the job is withdrawn, or its answer read and forgotten
//	the client has gone      all jobs are withdrawn, and the engine retires
//	the backend has gone     see settle; the engine goes on
//
// No two engines wait for each other's answers: the queue is in the order of the
// client's line of slots, so the job at the head of the line is the oldest of its
// engine, and nothing is in its way. What they may wait for is a connection, and
// that has its limit (-backend-wait).
type Engine struct {
	home    *Registry
	addr    string
	ctx     context.Context // done when the client has gone
	open    opener
	linger  time.Duration
	Ticket  uint64      // of the pool, the newest when the engine asked for its connection
	Crowded func() bool // callers wait for connections
	counts  *Counts
	batch   []*Job  // the writer's
	owed    Flusher // the reader's: the client has answers that are not written yet
	ended   int     // the reader's: jobs that the lane does not have any more, and onLane still counts

	wake   chan struct{} // has a token when the writer should look again
	queue  []*Job        // guarded by home.mu
	onLane int           // jobs that the lane has; guarded by home.mu

	departed bool // no more jobs will be pushed; the writer's

	// Of the lane in use: the reader's, and the writer's when the reader has ended.
	reading  chan struct{} // closed when the reader has ended
	answered bool          // it has answered something
	unsent   []*Job        // it did not take them
	why      error         // it ended
}

// An opener opens an engine's first lane; the others come of lane.renew. When ctx is
// done it opens none and says so.
type opener func(ctx context.Context) (Lane, error)

// New makes an engine for a registry to start.
func New(open opener, linger time.Duration, counts *Counts) *Engine {
	counts.Engines.Add(1)
	return &Engine{open: open, linger: linger, counts: counts, wake: make(chan struct{}, 1)}
}

var (
	errClientGone = errors.New("the client has gone")
	errUnwanted   = errors.New("nobody wants the rest of the answer")
	errUnreliable = errors.New("the answer is not to be relied on")
)

func (e *Engine) wakeUp() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// run is the writer. It has one lane after the other, until there is neither a
// lane nor a job.
func (e *Engine) run() {
	var lost Lane
	for {
		l, err := e.connect(lost)
		if err != nil {
			e.giveUp(err)
			break
		}
		if lost = e.drive(l); lost == nil {
			break
		}
	}
	e.counts.Retired.Add(1)
}

// connect opens a lane. When the client has gone none is needed instead of one
// that was lost; but a first one is asked for even then, for what has been kept
// for it must be given back.
func (e *Engine) connect(lost Lane) (Lane, error) {
	switch {
	case lost == nil:
		return e.open(e.ctx)
	case e.ctx.Err() != nil:
		lost.Close()
		return nil, context.Cause(e.ctx)
	}
	return lost.renew(e.ctx)
}

// drive uses l as long as it is of use. It returns it when jobs are left that
// another lane has to carry: that one takes its place in the pool, so that they
// are not overtaken by requests behind them.
func (e *Engine) drive(l Lane) (lost Lane) {
	e.reading, e.answered, e.unsent, e.why = make(chan struct{}), false, nil, nil
	go e.read(l)
	e.write(l)
	l.finish()
	<-e.reading
	if e.settle(l) {
		return l
	}
	l.Close()
	return nil
}

// write brings jobs onto l, until the lane has ended or should be given back. Then
// what is in the queue goes first; what is pushed later gets a new engine, which asks
// for its connection in its turn. (push does not put a job behind a request of its
// own client that waits: registry.go.)
func (e *Engine) write(l Lane) {
	idle := time.NewTimer(e.linger)
	defer idle.Stop()
	for {
		e.counts.Turns.Add(1)
		if l.recalled() {
			e.home.depart(e)
		}
		batch, busy := e.take(l)
		switch {
		case e.ctx.Err() != nil || !busy && e.departed:
			e.putBack(batch)
			return
		case len(batch) > 0:
			if !e.bring(l, batch) {
				return
			}
			continue
		case !busy:
			idle.Reset(e.linger)
		default:
			idle.Stop()
		}
		select {
		case <-e.wake:
		case <-e.reading:
			return
		case <-idle.C:
			if e.home.retire(e) {
				return
			}
		}
	}
}

// take moves what l has room for out of the queue, and says whether there is
// anything to do.
func (e *Engine) take(l Lane) (batch []*Job, busy bool) {
	e.home.mu.Lock()
	defer e.home.mu.Unlock()
	busy = e.onLane > 0 || len(e.queue) > 0
	if n := min(len(e.queue), l.room()); n > 0 {
		batch = append(e.batch[:0], e.queue[:n]...)
		e.batch = batch
		e.queue = slices.Delete(e.queue, 0, n)
		e.onLane += n
	}
	return batch, busy
}

// bring writes a batch, without those that nobody waits for any more.
func (e *Engine) bring(l Lane, batch []*Job) bool {
	all := len(batch)
	batch = slices.DeleteFunc(batch, func(j *Job) bool {
		if !j.To.Wanted() {
			e.end(j, jobWithdrawn, nil)
			return true
		}
		return false
	})
	if len(batch) < all {
		e.off(all - len(batch))
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

// read gives answers to jobs until the lane has ended.
func (e *Engine) read(l Lane) {
	defer close(e.reading)
	for e.why == nil {
		switch v := l.read(); v.kind {
		case laneHead:
			if v.again {
				e.why = errUnreliable
				break
			}
			v.job.To.Head(v.answer)
		case laneData:
			e.pass(v.job, v.piece)
		case laneAnswer:
			e.answered = true
			e.end(v.job, jobDone, nil)
			e.ended++
		case lanePause:
			e.pause(v.job)
		case laneEnd:
			e.why = v.err
		}
	}
	e.off(e.ended)
	e.ended = 0
}

// pass gives a piece to its job. What nobody takes is passed over, but not for
// long: a new connection costs less.
func (e *Engine) pass(j *Job, piece []byte) {
	if j.To.Data(piece) == nil {
		return
	}
	if j.unwanted += len(piece); j.unwanted > maxUnwanted {
		e.why = errUnwanted
	}
}

// pause is when all that has come is passed on: time to let the writer have the
// room that was made, and the client what is there for it.
func (e *Engine) pause(j *Job) {
	e.home.mu.Lock()
	e.onLane -= e.ended
	e.ended = 0
	look := len(e.queue) > 0 || e.onLane == 0
	e.home.mu.Unlock()
	if look {
		e.wakeUp()
	}
	if e.flush(); j != nil {
		j.To.Pause()
	}
}

// off notes that n jobs are no longer on the lane.
func (e *Engine) off(n int) {
	e.home.mu.Lock()
	e.onLane -= n
	e.home.mu.Unlock()
}

// putBack returns jobs to the front of the queue, in their order. If there are none
// in it then the engine is taken out, and putBack returns false.
func (e *Engine) putBack(jobs []*Job) (more bool) {
	e.home.mu.Lock()
	defer e.home.mu.Unlock()
	e.onLane -= len(jobs)
	e.queue = slices.Insert(e.queue, 0, jobs...)
	if more = len(e.queue) > 0; !more {
		e.home.remove(e)
	}
	return more
}

// settle decides what becomes of the jobs that a lane has left, and returns
// whether they, or others in the queue, need another one. All of them are safe to do twice: what
// is not is never pushed.
//
//	nobody waits for it           withdrawn
//	a part of the answer is out   failed: cut
//	its time was up               failed
//	its answer was none           failed: a bad one is not asked for twice
//	the backend never saw it      once more, and that is free
//	its answer is unreliable      once more, free too: on a fresh connection it is alone
//	nobody knows                  once more, if this was the first time
//
// So that a backend which closes at once is not asked for ever, the oldest has
// been tried when its lane has answered nothing at all. That we ended the lane,
// because nobody wants an answer, is not a try.
func (e *Engine) settle(l Lane) (again bool) {
	written := l.unanswered()
	left := slices.Concat(written, e.unsent)
	var jobs []*Job
	for i, j := range left {
		touched := i < len(written) && !l.untouched(j)
		if e.why != errUnreliable && (touched && e.why != errUnwanted || i == 0 && !e.answered) {
			j.attempts++
		}
		switch {
		case !j.To.Wanted():
			e.end(j, jobWithdrawn, nil)
		case j.To.Begun() || j.attempts > 1 || i == 0 && lastWord(e.why):
			e.end(j, jobFailed, e.why)
		default:
			jobs = append(jobs, j)
			if e.counts.Again.Add(1); i < len(written) {
				j.move(jobQueued)
			}
		}
	}
	e.off(len(left) - len(jobs))
	more := e.putBack(jobs)
	e.flush()
	return more
}

// lastWord says whether the backend had its time, or has said what is no answer. It
// would do so again, and the pool does not ask again either (again.go, mayRetry).
func lastWord(err error) bool {
	return errors.Is(err, client.ErrHeadTimeout) || errors.Is(err, client.ErrBodyTimeout) || errors.Is(err, http1.ErrBadAnswer)
}

// giveUp fails all who wait for a connection that is not to be had.
func (e *Engine) giveUp(why error) {
	e.home.mu.Lock()
	jobs := e.queue
	e.queue = nil
	e.home.remove(e)
	e.home.mu.Unlock()
	for _, j := range jobs {
		if j.To.Wanted() {
			e.end(j, jobFailed, why)
		} else {
			e.end(j, jobWithdrawn, nil)
		}
	}
	e.flush()
}

// end is the last that happens to j.
func (e *Engine) end(j *Job, how jobState, why error) {
	e.counts.ends[how].Add(1)
	j.move(how)
	if f := j.To.End(why); f != nil { // nil if the writer ends what nobody wants
		e.owed = f
	}
}

// flush writes the answers that have ended to the client.
func (e *Engine) flush() {
	if e.owed != nil {
		e.owed.Flush()
		e.owed = nil
	}
}

// Counts are of all engines of a gateway.
type Counts struct {
	Engines, Retired, Pushed, Alone, Writes, Again, Turns atomic.Uint64
	ends                                                  [jobWithdrawn + 1]atomic.Uint64 // by state
}

// Stats are the figures of Counts.
type Stats struct {
	Engines    uint64 `json:"engines"` // at work now
	HandedOver uint64 `json:"handed_over"`
	Alone      uint64 `json:"alone"` // requests that could not be
	Done       uint64 `json:"done"`
	Failed     uint64 `json:"failed"`
	Withdrawn  uint64 `json:"withdrawn"` // nobody wanted the answer any more
	Again      uint64 `json:"again"`     // once more, on another connection
	Writes     uint64 `json:"writes"`    // so many for what was handed over
}

func (c *Counts) Read() Stats {
	retired := c.Retired.Load() // first: it must not be more than there were
	return Stats{c.Engines.Load() - retired, c.Pushed.Load(), c.Alone.Load(), c.ends[jobDone].Load(), c.ends[jobFailed].Load(),
		c.ends[jobWithdrawn].Load(), c.Again.Load(), c.Writes.Load()}
}
