package server

import "time"

// A handler whose response waits for its turn may hold what others could use, such as a
// gateway's connection to a backend. The script:
//
//	the handler    calls OnTurnWait with a function, and writes its response
//	Write, Flush   wait for the turn, and call the function at each tick of the clock
//	the function   returns nil: the wait continues
//	               or an error, because the handler must give back what it holds
//	Write, Flush   return that error: nothing of the response has been sent
//	the handler    gives back, calls Reset and WaitForTurn, and begins again
//
// A response that is at its turn never calls the function. An interim response waits in the
// same way (WriteInterim).

// OnTurnWait sets the function that is called at each tick while a write of this handler
// waits for its turn, on the handler's goroutine, with how long it has waited. If it returns
// an error the write fails with that. A nil function, as at first, is not called.
func (w *Response) OnTurnWait(stop func(waited time.Duration) error) { w.x.onTurnWait = stop }

// WaitForTurn waits until all earlier responses are complete. An error means that the
// client will not receive this one.
func (w *Response) WaitForTurn() error {
	w.x.onTurnWait = nil
	t := w.x.conn.transport
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waitUntilFirst(w.x)
}

// waitOrGiveBack waits until something has changed, with the lock held. It returns the error
// of the function of x, whose wait for its turn began at the given clock.
func (t *transport) waitOrGiveBack(x *exchange, began int64) error {
	if x.onTurnWait == nil {
		t.changed.Wait()
		return nil
	}
	t.givingBack++
	t.changed.Wait()
	t.givingBack--
	if t.closeState != open || t.slots.head == &x.slot {
		return nil
	}
	t.mu.Unlock()
	defer t.mu.Lock()
	return x.onTurnWait(time.Duration(t.srv.clock.now() - began))
}
