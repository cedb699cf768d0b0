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

// WaitingMemory returns how many bytes of Limits.WaitingMemory requests hold as credit
// (waitingmemory.go).
func (s *Server) WaitingMemory() int64 { return s.memory.used.Load() }
