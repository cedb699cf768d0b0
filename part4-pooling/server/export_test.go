package server

// Expire makes the time of all requests that wait for their answers be up.
func (s *Server) Expire() {
	for _, d := range s.drivers {
		d.each(func(t *transport) {
			for slot := t.line.head; slot != nil; slot = slot.behind {
				slot.owner.due = 0
			}
		})
	}
}
