package server

// serveSerially is the serial driver. It handles one request of a connection at a time,
// and takes the next when that one is answered. It has all the rules of messages and of
// persistent connections; to it, a pipeline is only a queue.
func serveSerially(s *blockingConn) {
	for x := s.nextRequest(); x != nil; x = s.nextRequest() {
		s.handleInline(x)
	}
}

// handleInline calls the handler of x on the connection's own goroutine. The caller holds
// the lock; it is released while the handler runs.
func (s *blockingConn) handleInline(x *exchange) {
	if x.exclusive {
		s.runExclusive(x)
		return
	}
	s.lock.Unlock()
	x.run()
	s.lock.Lock()
	s.complete(x)
	s.runActions()
}
