package server

import (
	"time"

	"golang.org/x/sys/unix"

	"socketup/part4-pooling/socket"
)

// A server stops in this order: it takes in all connections that are queued, for
// closing the listener would reset them; it closes the listener; every connection
// answers the requests that it has read, the last of them with Connection: close.
// An idle connection gets a last call, for a request may be on its way.

// Stop makes the server drain: what has been read is answered, and Serve returns. It
// can be called from any goroutine, and twice.
func (s *Server) Stop() {
	if s.stopping.Swap(true) {
		return
	}
	s.stopRequested <- struct{}{}
	s.listener.Wake()
	select {
	case s.connFreed <- struct{}{}: // Serve may be waiting for room
	default:
	}
}

// drain is the end of Serve.
func (s *Server) drain() {
	s.listener.ClearWake()
	s.acceptQueued()
	s.listener.Close()
	for s.Connections() > 0 {
		select {
		case <-s.connFreed:
		case <-time.After(time.Second):
		}
	}
}

// acceptQueued accepts the connections that are queued. A backlog of 0 keeps newcomers
// out, all but one at a time: if there is room it may come in too, but no stop
// waits for room for those that were not queued when it began.
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

// tryAccept is accept without waiting, if another connection may be open.
func (s *Server) tryAccept() (int, unix.Sockaddr, error) {
	if s.connLimitReached() {
		return -1, nil, unix.EMFILE // as when there are no descriptors left
	}
	return socket.Accept(s.listener.Sysfd)
}
