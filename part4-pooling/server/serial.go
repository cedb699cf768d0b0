package server

// The serial driver handles one request of a connection at a time: the next one is
// taken when the last one is answered. It has all the rules of a message and of a
// kept connection, and a pipeline is only a queue to it.
func serveSerially(s *blockingConn) {
	for x := s.nextRequest(); x != nil; x = s.nextRequest() {
		s.handleInline(x)
	}
}

// handleInline calls the handler of x on the connection's own goroutine. With the
// lock, which is open meanwhile.
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
