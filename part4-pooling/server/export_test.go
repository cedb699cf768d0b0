package server

// Expire makes every unanswered request overdue.
func (s *Server) Expire() {
	for _, d := range s.drivers {
		d.forEach(func(t *transport) {
			for slot := t.slots.head; slot != nil; slot = slot.next {
				slot.exchange.deadline = 0
			}
		})
	}
}
