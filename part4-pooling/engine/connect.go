package engine

import "context"

// How an engine gets its lanes: one after another, each on a connection of its own.

// An Opener opens an engine's first lane, and one after each that gave its connection
// back (again is true then); Lane.redial opens the others. It may block. It is called even
// if the client has gone, because it holds a reservation that must be claimed; it fails
// when ctx is done.
type Opener func(ctx context.Context, again bool) (Lane, error)

// connectLane opens the first lane, or replaces one that was lost. If the client has
// gone a lost lane is not replaced; but the opener is called even then, because its
// reservation must be claimed. After a lane that gave its connection back the engine waits
// for the turn of its oldest job: until then a connection could do nothing.
func (e *Engine) connectLane(lost Lane) (Lane, error) {
	switch {
	case lost == nil:
		return e.openLane(e.ctx, false)
	case e.ctx.Err() != nil:
		lost.Close()
		return nil, context.Cause(e.ctx)
	case e.laneErr == ErrGiveBack:
		lost.giveBack()
		e.oldest().Sink.AwaitTurn()
		return e.openLane(e.ctx, true)
	}
	return lost.redial(e.ctx)
}

// oldest returns the first job of the queue, which must not be empty. Only the writer
// removes jobs from it.
func (e *Engine) oldest() *Job {
	e.registry.mu.Lock()
	defer e.registry.mu.Unlock()
	return e.queue[0]
}
