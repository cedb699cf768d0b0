package server

import "runtime"

// serveConcurrently is the goroutines driver. It starts a goroutine for each handler, so
// requests of one connection are handled in parallel; the slot queue (slot.go) keeps
// their responses in order. An exclusive request is handled on the connection's own
// goroutine, which has nothing else to do meanwhile.
func serveConcurrently(s *blockingConn) {
	for x := s.nextRequest(); x != nil; x = s.nextRequest() {
		if x.exclusive {
			s.handleInline(x)
		} else {
			go s.handle(x) // ends when the handler has returned
		}
	}
}

// handle calls the handler of x and completes its slot. It writes what is ready.
func (s *blockingConn) handle(x *exchange) {
	defer s.lock.Unlock() // the lock is held at every end of handle: goexit takes it if the handler calls runtime.Goexit
	x.run()
	s.lock.Lock()
	s.complete(x)
	s.runEventActions()
	s.lock.Unlock()
	runtime.Gosched() // let handlers that finish at the same time share one write
	s.lock.Lock()
	s.runActions()
}
