package server

// serveSerially is the serial driver. It handles one request of a connection at a time,
// and takes the next when that one is answered. It has all the rules of messages and of
// persistent connections; to it, a pipeline is only a queue.
func serveSerially(c *blockingConn) {
	for x := c.nextRequest(); x != nil; x = c.nextRequest() {
		c.handleInline(x)
	}
}

// handleInline calls the handler of x on the connection's own goroutine. The caller holds
// the lock; it is released while the handler runs.
func (c *blockingConn) handleInline(x *exchange) {
	if x.exclusive {
		c.runExclusive(x)
		return
	}
	c.lock.Unlock()
	x.run()
	c.lock.Lock()
	c.complete(x)
	c.runActions()
}
