package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// A server stops in this order: it takes in all connections that are queued, for
// closing the listener would reset them; it closes the listener; every connection
// answers the requests that it has read, the last of them with Connection: close.
// An idle connection gets a last call, for a request may be on its way.

// stop makes the server drain: what has been read is answered, and serve returns. It
// can be called from any goroutine, and twice.
func (s *server) stop() {
	if s.stopping.Swap(true) {
		return
	}
	s.told <- struct{}{}
	s.listener.kick()
	select {
	case s.removed <- struct{}{}: // serve may be waiting for room
	default:
	}
}

// drain is the end of serve.
func (s *server) drain() {
	s.listener.calm()
	s.takeIn()
	s.listener.Close()
	for s.count() > 0 {
		select {
		case <-s.removed:
		case <-time.After(time.Second):
		}
	}
}

// takeIn accepts the connections that are queued. A backlog of 0 keeps newcomers
// out, all but one at a time: if there is room it may come in too, but no stop
// waits for room for those that were not queued when it began.
func (s *server) takeIn() {
	unix.Listen(s.listener.fd, 0)
	for left := queued(s.listener.fd); ; {
		fd, peer, err := s.acceptNow()
		switch {
		case err == nil:
			s.add(fd, peer)
			left--
		case err == unix.EINTR:
		case err == unix.EAGAIN || left <= 0:
			return
		default:
			s.waitForRoom(true)
		}
	}
}

// acceptNow is accept without waiting, if another connection may be open.
func (s *server) acceptNow() (int, unix.Sockaddr, error) {
	if s.full() {
		return -1, nil, unix.EMFILE // as when there are no descriptors left
	}
	return accept(s.listener.fd)
}
