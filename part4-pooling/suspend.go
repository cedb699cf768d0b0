package main

// A handler may return before its answer is there. Its slot stays where it is,
// empty, and whoever it gave the exchange to fills it later. Until the slot is
// filled, x.res and x.wire are that other's alone; x.req stays as it is. The script:
//
//	the handler    suspends its exchange, gives it away, and returns
//	the other      writes to x.res as a handler would: a write waits while the slot
//	               is full and not at the head of the line, or the client slow
//	the other      resumes, once: the answer is whole. From then on x is not his
//
// The two ends can come in any order: the other may be ready before the handler
// has returned. So a slot is finished when both are done with it, and x can be
// looked at until then.
type suspension struct {
	suspended bool // set and looked at by the handler's goroutine only
	returned  bool // the handler has; guarded by c.mu
	settled   bool // the answer is in x.wire; guarded by c.mu
}

// suspend must come before x is given away: afterwards it is not ours to write.
func (x *exchange) suspend() { x.suspended = true }

// unsuspend is for who could not give x away.
func (x *exchange) unsuspend() { x.suspended = false }

// handlerReturned is for the handler of a suspended exchange. With c.mu held.
func (x *exchange) handlerReturned() {
	x.returned = true
	x.settle()
}

// resume ends a suspension, and puts x.wire into its slot. It does not write to
// the client, unless much has come together: who resumes may have more answers.
func (x *exchange) resume() {
	c := x.c
	c.mu.Lock()
	defer c.mu.Unlock()
	x.settled = true
	x.settle()
	c.advance()
	if c.out != nil && len(c.out.b) >= outSize {
		c.flush()
	}
}

// settle finishes the slot if both are done with it. One that has expired is
// finished already. With c.mu held.
func (x *exchange) settle() {
	if x.returned && x.settled && !x.expired {
		x.c.line.finish(&x.slot, x.wire)
	}
}

// wanted says whether anybody waits for the answer.
func (x *exchange) wanted() bool {
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	return x.c.dead == nil && !x.expired
}

// flushAll writes what is ready.
func (c *conn) flushAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flush()
}
