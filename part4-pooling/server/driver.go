package server

import (
	"fmt"
	"net/netip"
)

// A driver waits for the kernel and for handlers, and has the connections do what
// they have to. There are three, and they keep the same rules, for those are the
// connection's (conn.go):
//
//	serial      a goroutine for each connection, which handles one request at a time
//	goroutines  a goroutine for each connection, which reads, and one for each handler
//	loop        one epoll loop for many connections (Linux)
type driver interface {
	run()                              // until stop, on a goroutine of its own
	add(fd int, peer netip.Addr) error // serves fd from now on; with an error it is the caller's again
	forEach(f func(*transport))        // calls f for all connections, with their lock held
	stop()                             // when there are no connections any more
	closeUnused()                      // instead of run
}

// newDrivers makes what serves the connections of s, which takes turns.
func newDrivers(s *Server, wait string) ([]driver, error) {
	switch wait {
	case "loop":
		return newLoops(s)
	case "goroutines":
		return newBlockingDriver(s, false, serveConcurrently), nil
	case "serial":
		return newBlockingDriver(s, true, serveSerially), nil
	}
	return nil, fmt.Errorf("no driver is called %q", wait)
}
