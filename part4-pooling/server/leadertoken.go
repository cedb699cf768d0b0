package server

// The token is the right to lead a loop: to read from its connections and to call
// the handlers. A handler that returns at once costs no change of goroutine.
//
//	the holder    offers the token before it calls a handler
//	the handler   returns soon: the holder takes its offer back and reads on
//	or it blocks: a follower finds the offer, takes it, and reads on instead.
//	              The old holder finishes its slot when it can, and leaves
//
// So requests are handled side by side exactly when that is of use. An offer
// has the number of its request: a slow handler must not take back what a
// later holder has offered, for then two would read at once.
//
// loop.mu guards it.
type token struct {
	offered         uint64 // the request at which the token was offered; 0 when somebody has it
	followerStarted bool   // a follower was started and has not looked yet
}

// offer puts the token on the table. The caller starts a follower if start.
func (t *token) offer(request uint64) (start bool) {
	start = !t.followerStarted
	t.offered, t.followerStarted = request, true
	return start
}

// acquire is the follower's look at the table.
func (t *token) acquire() bool {
	found := t.offered != 0
	t.offered, t.followerStarted = 0, false
	return found
}

// reclaim ends the offer made at request, if nobody took it.
func (t *token) reclaim(request uint64) bool {
	if t.offered != request {
		return false
	}
	t.offered = 0
	return true
}
