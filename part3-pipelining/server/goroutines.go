package server

import "runtime"

// The goroutines driver has a goroutine for each handler: requests of a connection
// are handled side by side, and the line (slot.go) keeps their responses in order.
// A request that has the connection for itself is handled on the connection's own
// goroutine, which would have nothing else to do.
func serveConcurrently(s *blockingConn) {
	for x := s.nextRequest(); x != nil; x = s.nextRequest() {
		if x.exclusive {
			s.handleInline(x)
		} else {
			go s.handle(x) // until the handler has returned
		}
	}
}

// handle calls the handler of x and sends its response, if it is its turn.
func (s *blockingConn) handle(x *exchange) {
	s.lock.Lock()
	defer s.lock.Unlock() // also of what leave has locked, when the handler takes the goroutine with it
	s.lock.Unlock()
	x.run()
	s.lock.Lock()
	s.complete(x)
	s.runEventActions()
	s.lock.Unlock()
	runtime.Gosched() // others may be done at the same time: one write for all
	s.lock.Lock()
	s.runActions()
}
