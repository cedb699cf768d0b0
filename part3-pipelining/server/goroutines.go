package server

import "runtime"

// serveConcurrently is the goroutines driver. It starts a goroutine for each handler, so
// requests of one connection are handled in parallel; the slot queue (slot.go) keeps
// their responses in order. An exclusive request is handled on the connection's own
// goroutine, which has nothing else to do meanwhile.
func serveConcurrently(c *blockingConn) {
	for x := c.nextRequest(); x != nil; x = c.nextRequest() {
		if x.exclusive {
			c.handleInline(x)
		} else {
			go c.handle(x) // ends when the handler has returned
		}
	}
}

// handle calls the handler of x and completes its slot. It writes what is ready.
func (c *blockingConn) handle(x *exchange) {
	defer c.lock.Unlock() // the lock is held at every end of handle: goexit takes it if the handler calls runtime.Goexit
	x.run()
	c.lock.Lock()
	c.complete(x)
	c.runEventActions()
	c.lock.Unlock()
	runtime.Gosched() // let handlers that finish at the same time share one write
	c.lock.Lock()
	c.runActions()
}
