package server

import (
	"fmt"
	"net/netip"
)

// A driver waits for the kernel and for handlers, reports events to its connections, and
// performs their actions. There are three. All follow the same rules, because the rules
// are the connection's (conn.go):
//
//	serial      a goroutine per connection, which handles one request at a time
//	goroutines  a goroutine per connection, which reads, and one per handler
//	loop        one epoll loop for many connections (Linux)
type driver interface {
	run()                              // serves the connections. Called once, on a goroutine of its own; it may return before stop
	add(fd int, peer netip.Addr) error // takes ownership of fd, unless it returns an error
	forEach(f func(*transport))        // calls f for every connection, with its lock held
	stop()                             // ends what run began; called when every connection has closed
	closeUnused()                      // frees a driver whose run was never called
}

// newDrivers returns the drivers of s for -wait wait. New connections go to them in turn.
func newDrivers(s *Server, wait string) ([]driver, error) {
	switch wait {
	case "loop":
		return newLoops(s)
	case "goroutines":
		return newBlockingDriver(s, false, serveConcurrently), nil
	case "serial":
		return newBlockingDriver(s, true, serveSerially), nil
	}
	return nil, fmt.Errorf("no driver is named %q", wait)
}
