package server

import "runtime"

// The goroutines driver has a goroutine for each handler: requests of a connection
// are handled side by side, and the line (slot.go) keeps their answers in order.
// A request that has the connection for itself is handled on the connection's own
// goroutine, which would have nothing else to do.
func serveSideBySide(s *strand) {
	for x := s.request(); x != nil; x = s.request() {
		if x.alone {
			s.handleHere(x)
		} else if !s.give(x) {
			go s.handle(x) // until the handler has returned
		}
	}
}

// handle calls the handler of x and sends its answer, if it is its turn.
func (s *strand) handle(x *exchange) {
	s.lock.Lock()
	defer s.lock.Unlock() // also of what leave has locked, when the handler takes the goroutine with it
	s.lock.Unlock()
	x.answer()
	s.lock.Lock()
	s.finish(x)
	s.attend()
	s.lock.Unlock()
	runtime.Gosched() // others may be done at the same time: one write for all
	s.lock.Lock()
	s.act()
}
