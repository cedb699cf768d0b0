package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// A server stops in this order: it takes in who is queued, for closing the
// listener would reset them; it closes the listener; every connection answers
// the requests that it has read and closes behind them, so that its answers
// arrive. Whoever has just come gets a last call, for a request may be on its way.

// stop makes serve drain and return. It can be called from anywhere, and twice.
func (s *server) stop() {
	s.stopping.Store(true)
	s.listener.kick()
	select {
	case s.removed <- struct{}{}: // serve may be waiting for room
	default:
	}
}

// drain is the end of serve.
func (s *server) drain() {
	s.listener.calm()
	unix.Listen(s.listener.fd, 0) // newcomers stay out
	for !s.full() {
		fd, peer, err := accept(s.listener.fd)
		if err != nil && err != unix.EINTR && err != unix.ECONNABORTED {
			break
		}
		if err == nil {
			s.add(fd, peer)
		}
	}
	s.listener.Close()
	s.each((*conn).check) // whoever is idle goes
	for s.count() > 0 {
		select {
		case <-s.removed:
		case <-time.After(time.Second):
		}
	}
}
