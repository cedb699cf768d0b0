package engine

import (
	"context"
	"sync"

	"socketup/part4-pooling/pool"
)

// A Registry holds the engines of one client connection, one for each backend, and
// not those that are about to give their connection back.
// It is never shared between clients: on one ordered connection they would wait
// for each other, and a backend that miscounts would give one client the responses
// of another.
//
// Its lock guards the queues too, so that three things are one step each:
//
//	push     finds the engine, or makes it, and puts the job into its queue
//	take     moves jobs out of the queue onto the connection
//	retire   finds that there is nothing to do, and takes the engine out
//
// So a job is never in the queue of an engine that has gone: between the look
// and the leave there is no room for it. mod_proxy_http2 made two steps of the
// last, and its engine unregistered its successor.
type Registry struct {
	mu         sync.Mutex // nothing that waits is done with it
	engines    map[string]*Engine
	Line       pool.Line       // the client's requests that ask for connections
	clientGone bool            // the client is; no more jobs
	ctx        context.Context // done when gone; nil without an engine
	cancel     context.CancelCauseFunc
}

// Push hands j over to the engine for addr, and makes one with create if there
// is none. It returns false when it cannot: then j is the caller's as before.
// If it can, j is not his any more, not even to look at.
func (r *Registry) Push(addr string, j *Job, create func() *Engine) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.engines[addr]
	if e != nil && r.Line.Blocks(e.Number) {
		e = nil // j must not overtake a request that waits and that its own response waits for: it asks behind it, and e goes on with what it has
	}
	switch {
	case r.clientGone || e != nil && len(e.queue) >= MaxQueue:
		return false
	case e == nil:
		e = create()
		r.register(addr, e)
	}
	j.moveTo(jobQueued)
	e.queue = append(e.queue, j)
	e.counts.Pushed.Add(1)
	e.wakeUp()
	return true
}

// register starts e. With r.mu held.
func (r *Registry) register(addr string, e *Engine) {
	if r.engines == nil {
		r.engines = map[string]*Engine{}
		r.ctx, r.cancel = context.WithCancelCause(context.Background())
	}
	e.registry, e.addr, e.ctx = r, addr, r.ctx
	r.engines[addr] = e
	go e.runWriter() // ends when it retires
}

// unregister takes e out though it has jobs left: no others are pushed to it.
func (r *Registry) unregister(e *Engine) {
	if e.unregistered {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remove(e)
	e.unregistered = true
}

// retire takes e out if it has nothing to do, and returns whether it has.
func (r *Registry) retire(e *Engine) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(e.queue) > 0 || e.inFlight > 0 {
		return false
	}
	r.remove(e)
	return true
}

// remove takes e out: what is pushed from then on gets a new engine. With r.mu held.
func (r *Registry) remove(e *Engine) {
	if r.engines[e.addr] == e { // never another's
		delete(r.engines, e.addr)
	}
}

// OnClientGone tells all engines that the client has gone: nobody wants their responses.
func (r *Registry) OnClientGone() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clientGone = true
	if r.cancel != nil {
		r.cancel(errClientGone)
	}
	for _, e := range r.engines {
		e.wakeUp()
	}
}
