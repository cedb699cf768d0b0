package server

import (
	"time"

	"golang.org/x/sys/unix"

	"socketup/part3-pipelining/socket"
)

// A server stops in this order. It accepts every queued connection, because closing the
// listener would reset them. It closes the listener. Every connection answers the
// requests that it has read, the last one with Connection: close. An idle connection
// stays open for drainIdleTime, because a request may be in flight.
//
// A listener that other processes hold too (Server.KeepQueue) is not reset when this one
// closes it: the queued connections are theirs.

// Stop makes the server drain: it answers the requests that have arrived, closes all
// connections, and Serve returns. Stop does not wait for that. It may be called from any
// goroutine, and more than once.
func (s *Server) Stop() {
	if s.stopping.Swap(true) {
		return
	}
	s.stopRequested <- struct{}{}
	s.listener.Wake()
	select {
	case s.connFreed <- struct{}{}: // Serve may be in waitForCapacity
	default:
	}
}

// drain accepts what is queued, closes the listener, and waits for the connections.
func (s *Server) drain() {
	s.listener.ClearWake()
	if !s.KeepQueue {
		s.acceptQueued()
	}
	s.listener.Close()
	for s.Connections() > 0 {
		select {
		case <-s.connFreed:
		case <-time.After(time.Second):
		}
	}
}

// acceptQueued accepts the connections in the accept queue. A backlog of 0 lets at most
// one new client into the queue at a time (part 2). Such a client is accepted if the
// connection limit allows it; the server waits for room only for the clients that were
// queued when the stop began.
func (s *Server) acceptQueued() {
	unix.Listen(s.listener.Sysfd, 0)
	for left := socket.AcceptQueueLen(s.listener.Sysfd); ; {
		fd, peer, err := s.tryAccept()
		switch {
		case err == nil:
			s.addConn(fd, peer)
			left--
		case err == unix.EINTR:
		case err == unix.EAGAIN || left <= 0:
			return
		default:
			s.waitForCapacity(true)
		}
	}
}

// tryAccept calls accept(2) without waiting. It fails with EMFILE at the connection limit.
func (s *Server) tryAccept() (int, unix.Sockaddr, error) {
	if s.connLimitReached() {
		return -1, nil, unix.EMFILE // as if there were no descriptors left
	}
	return socket.Accept(s.listener.Sysfd)
}
