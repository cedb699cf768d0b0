package server

// The serial driver handles one request of a connection at a time: the next one is
// taken when the last one is answered. It has all the rules of a message and of a
// kept connection, and a pipeline is only a queue to it.
func serveSerially(s *strand) {
	for x := s.request(); x != nil; x = s.request() {
		s.handleHere(x)
	}
}

// handleHere calls the handler of x on the connection's own goroutine. With the
// lock, which is open meanwhile.
func (s *strand) handleHere(x *exchange) {
	if x.alone {
		s.workAlone(x)
		return
	}
	s.lock.Unlock()
	x.answer()
	s.lock.Lock()
	s.finish(x)
	s.act()
}
