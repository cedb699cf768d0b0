package server

// Expire makes the time of all requests that wait for their responses be up.
func (s *Server) Expire() {
	for _, d := range s.drivers {
		d.forEach(func(t *transport) {
			for slot := t.slots.head; slot != nil; slot = slot.next {
				slot.exchange.deadline = 0
			}
		})
	}
}
