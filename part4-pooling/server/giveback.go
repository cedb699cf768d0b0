package server

import (
	"errors"
	"time"
)

// A handler whose response waits for its turn may hold what others could use, such as a
// gateway's connection to a backend. The script:
//
//	the handler    calls OnTurnWait with a function, and writes its response
//	Write, Flush   wait for the turn, and call the function at each tick of the clock
//	the function   returns false: the wait continues
//	               or gives back what the handler holds, and returns true
//	Write, Flush   return ErrGaveBack: nothing of the response has been sent
//	the handler    calls Reset and WaitForTurn, and begins again
//
// A response that is at its turn never calls the function.

// ErrGaveBack is the error of a Write, Flush or WriteTrailers whose wait for its turn the
// function of OnTurnWait has ended.
var ErrGaveBack = errors.New("the handler gave back what it held while its response waited for its turn")

// OnTurnWait sets the function that is called at each tick while a write of this handler
// waits for its turn, on the handler's goroutine, with how long it has waited. A nil function,
// as at first, is not called.
func (w *Response) OnTurnWait(giveBack func(waited time.Duration) bool) { w.x.giveBack = giveBack }

// WaitForTurn waits until all earlier responses are complete. An error means that the
// client will not receive this one.
func (w *Response) WaitForTurn() error {
	w.x.giveBack = nil
	t := w.x.conn.transport
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waitUntilFirst(w.x)
}

// waitOrGiveBack waits until something has changed, with the lock held. It returns ErrGaveBack
// if x, whose wait for its turn began at the given clock, gives up.
func (t *transport) waitOrGiveBack(x *exchange, began int64) error {
	if x.giveBack == nil {
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
	if x.giveBack(time.Duration(t.srv.clock.now() - began)) {
		return ErrGaveBack
	}
	return nil
}
