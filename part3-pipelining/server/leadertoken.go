package server

// A token is the right to lead a loop: to read from its connections and to call the
// handlers. The pattern is called Leader/Followers. A handler that returns quickly costs
// no goroutine switch.
//
//	the leader    offers the token, then calls a handler
//	the handler   returns quickly: the leader reclaims its offer and reads on
//	or it blocks: a follower finds the offer, acquires the token, and leads instead.
//	              The old leader completes its slot when the handler returns, and exits
//
// So handlers run in parallel when one of them blocks, or runs long enough for its
// follower to be scheduled. An offer carries the number of its request: a leader whose
// handler was slow must not reclaim an offer that a later leader made, because then two
// goroutines would lead.
//
// loop.mu guards it.
type token struct {
	offered         uint64 // the request at which the token was offered; 0 while a goroutine holds it
	followerStarted bool   // a follower was started and has not called acquire yet
}

// offer lets a follower acquire the token. The caller must start a follower if start.
func (t *token) offer(request uint64) (start bool) {
	start = !t.followerStarted
	t.offered, t.followerStarted = request, true
	return start
}

// acquire is called by a follower, once. It returns whether the follower has the token.
func (t *token) acquire() bool {
	found := t.offered != 0
	t.offered, t.followerStarted = 0, false
	return found
}

// reclaim withdraws the offer made at request. It returns false if a follower acquired
// the token first: then the caller no longer leads.
func (t *token) reclaim(request uint64) bool {
	if t.offered != request {
		return false
	}
	t.offered = 0
	return true
}
