package engine

import (
	"context"
	"sync"

	"socketup/part4-pooling/pool"
)

// A Registry holds the engines of one client connection, at most one for each
// backend. An engine that is about to return its connection is no longer in it. The
// zero value is ready to use.
//
// A registry must not be shared between clients: on one HTTP/1.1 connection their
// requests would wait for each other, and a backend that loses count of its
// responses would give one client the responses of another.
//
// Its lock also guards the engines' queues, which makes each of these atomic:
//
//	Push       finds or creates the engine, and appends the job to its queue
//	takeBatch  moves jobs from the queue to the connection (engine.go)
//	retire     finds the engine without work, and removes it
//
// So no job is ever pushed to an engine that has retired. Apache's mod_proxy_http2
// once checked and removed in two steps, and a retiring engine unregistered its
// successor.
type Registry struct {
	mu         sync.Mutex // never held across anything that blocks
	engines    map[string]*Engine
	Line       pool.Line       // the order in which the client's requests, by an engine or not, reserve connections
	clientGone bool            // the client has gone; no more jobs
	ctx        context.Context // done when the client has gone; nil before the first engine
	cancel     context.CancelCauseFunc
}

// Push moves j to the queue of the engine for addr. Without one, or if an earlier
// request of this client waits for a connection, it calls create, with the lock held,
// and starts the new engine. It does not block.
//
// It returns false if the client has gone or MaxQueue jobs are queued; the caller
// then still owns j. If it returns true the engine owns j, and the caller must not
// even read it.
func (r *Registry) Push(addr string, j *Job, create func() *Engine) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.engines[addr]
	if e != nil && r.Line.Blocks(e.Number) {
		e = nil // an earlier request of this client waits for a connection, and j's response waits for that request's: j must not overtake it, so a new engine queues after it; e keeps the jobs it has
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

// register adds e and starts it. Called with r.mu held.
func (r *Registry) register(addr string, e *Engine) {
	if r.engines == nil {
		r.engines = map[string]*Engine{}
		r.ctx, r.cancel = context.WithCancelCause(context.Background())
	}
	e.registry, e.addr, e.ctx = r, addr, r.ctx
	r.engines[addr] = e
	go e.runWriter() // ends when the engine retires; nothing waits for it
}

// unregister removes e while it may still have jobs: no others are pushed to it.
func (r *Registry) unregister(e *Engine) {
	if e.unregistered {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remove(e)
	e.unregistered = true
}

// retire removes e if it has no jobs, and reports whether it did.
func (r *Registry) retire(e *Engine) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(e.queue) > 0 || e.inFlight > 0 {
		return false
	}
	r.remove(e)
	return true
}

// remove removes e: jobs pushed from then on get a new engine. Called with r.mu held.
func (r *Registry) remove(e *Engine) {
	if r.engines[e.addr] == e { // e may already have a successor, which stays
		delete(r.engines, e.addr)
	}
}

// OnClientGone cancels all engines: the client has gone, so no response is wanted. The
// engines withdraw their jobs and retire; later pushes fail. It does not block.
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
