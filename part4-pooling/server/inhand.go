package server

// InHand counts the slots of all connections that are not answered, and the
// handlers that run.
func (s *Server) InHand() (slots, running int) {
	s.each(func(t *transport) {
		slots += t.line.length
		running += t.running
		for slot := t.line.head; slot != nil; slot = slot.behind {
			if slot.owner.taken && !slot.done {
				running--
			}
		}
	})
	return slots, running
}
