package server

// InFlight counts the slots of all connections that are not answered, and the
// handlers that run.
func (s *Server) InFlight() (slots, running int) {
	s.forEachConn(func(t *transport) {
		slots += t.slots.length
		running += t.running
		for slot := t.slots.head; slot != nil; slot = slot.next {
			if slot.exchange.offloaded && !slot.done {
				running--
			}
		}
	})
	return slots, running
}
