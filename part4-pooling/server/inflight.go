package server

// InFlight returns how many slots all connections hold, and how many handlers run.
// Offloaded requests have a slot and no handler.
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
