package main

// inHand counts the slots of all connections that are not answered, and the
// handlers that run.
func (s *server) inHand() (slots, running int) {
	s.each(func(c *conn) {
		slots += c.line.length
		running += c.running
	})
	return slots, running
}
