package server

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"socketup/part4-pooling/socket"
)

// A Server accepts connections and gives each to a driver, in turns (driver.go). A
// goroutine more watches the time (clock.go).
type Server struct {
	listener      socket.FD
	Handler       Handler
	Offloader     Offloader // is asked first (offload.go); nil for none
	AbortOnClose  bool      // a client that closes its side does not want its responses any more (loop.go)
	Limits        Limits
	Log           *slog.Logger
	clock         *clock
	stopping      atomic.Bool   // drain.go
	stopRequested chan struct{} // has a token when watch should hear of that
	stoppedAt     atomic.Int64  // the clock when it did: the last call begins
	atCapacity    atomic.Bool   // somebody has to wait for room: idle connections had better go
	lastSweep     time.Time     // when they were told so; Serve's own

	drivers    []driver
	nextDriver int           // which of them gets the next connection
	openConns  atomic.Int64  // connections
	connFreed  chan struct{} // has a token when a connection was closed lately
	done       chan struct{} // closed when Serve is about to return
}

// New makes a server that listens on fd, which it owns from now on. With an
// error nothing is left open.
func New(fd int, h Handler, l Limits, log *slog.Logger) (*Server, error) {
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // accepted sockets inherit it: a response does not wait for an ACK
	socket.LimitUnsent(fd)
	listener, err := socket.NewFD(fd)
	if err != nil {
		return nil, fmt.Errorf("park the listening socket: %w", err)
	}
	s := &Server{
		listener: listener, Handler: h, Limits: l, Log: newDedupLogger(log), clock: newClock(),
		stopRequested: make(chan struct{}, 1), connFreed: make(chan struct{}, 1), done: make(chan struct{}),
	}
	if s.drivers, err = newDrivers(s, l.Driver); err != nil {
		s.listener.Close()
		return nil, err
	}
	return s, nil
}

// Close closes a server that will never Serve.
func (s *Server) Close() {
	for _, d := range s.drivers {
		d.closeUnused()
	}
	s.listener.Close()
}

// Serve accepts connections until the server is told to stop, and returns when all
// of them are closed.
func (s *Server) Serve() {
	var watch sync.WaitGroup
	watch.Go(s.runClock)
	for _, d := range s.drivers {
		go d.run() // until stop
	}
	for !s.stopping.Load() {
		if s.connLimitReached() {
			s.waitForCapacity(socket.AcceptQueueLen(s.listener.Sysfd) > 0)
		} else if fd, peer, err := s.accept(); err == nil {
			s.addConn(fd, peer)
		} else if !socket.IsTimeout(err) {
			crowd := socket.AcceptQueueLen(s.listener.Sysfd) > 0 // accept(2) takes a descriptor before it looks into the queue
			if crowd && !s.atCapacity.Load() {
				s.Log.Warn("accept", "error", err) // no descriptors left: the queue keeps who is in it
			}
			s.waitForCapacity(crowd)
		}
	}
	s.drain()
	for _, d := range s.drivers {
		d.stop()
	}
	close(s.done)
	watch.Wait()
}

// accept waits for a connection, parked.
func (s *Server) accept() (fd int, peer unix.Sockaddr, err error) {
	parkErr := s.listener.RawConn.Read(func(listener uintptr) bool {
		fd, peer, err = socket.Accept(int(listener))
		for err == unix.EINTR {
			fd, peer, err = socket.Accept(int(listener))
		}
		if err == unix.EAGAIN {
			s.atCapacity.Store(false)
		}
		return err != unix.EAGAIN
	})
	if parkErr != nil {
		return -1, nil, parkErr
	}
	return fd, peer, err
}

// addConn starts to Serve fd, the connection of a client at peer.
func (s *Server) addConn(fd int, peer unix.Sockaddr) {
	s.openConns.Add(1)
	s.nextDriver++
	err := unix.SetNonblock(fd, true)
	if err == nil {
		err = s.drivers[s.nextDriver%len(s.drivers)].add(fd, socket.AddrPort(peer).Addr())
	}
	if err != nil {
		s.Log.Warn("accept", "error", err)
		unix.Close(fd)
		s.connClosed()
	}
}

// connClosed notes that a connection is closed.
func (s *Server) connClosed() {
	s.openConns.Add(-1)
	select {
	case s.connFreed <- struct{}{}:
	default:
	}
}

func (s *Server) connLimitReached() bool { return s.Connections() >= s.Limits.Connections }

// Connections is how many connections are open.
func (s *Server) Connections() int { return int(s.openConns.Load()) }

// waitForCapacity waits until a connection is closed. It tries again by itself too,
// for another program may have had the descriptors, and a client may come into the
// queue. crowd says that one waits there: then the idle connections are hurried,
// once a second and not for every newcomer, for the walk over all of them would be
// dearer than its request, and what becomes idle in a crowd knows (waitDeadline).
func (s *Server) waitForCapacity(crowd bool) {
	s.atCapacity.Store(crowd)
	if now := time.Now(); crowd && now.Sub(s.lastSweep) >= capacityIdleTime {
		s.lastSweep = now
		s.checkDeadlines()
	}
	select {
	case <-s.connFreed:
	case <-time.After(drainIdleTime):
	}
}

// checkDeadlines has every connection look at the clock.
func (s *Server) checkDeadlines() {
	s.forEachConn(func(t *transport) {
		t.checkDeadlines()
		t.runActions()
	})
}

// forEachConn calls f for all connections, with their lock held.
func (s *Server) forEachConn(f func(*transport)) {
	for _, d := range s.drivers {
		d.forEach(f)
	}
}

// What a connection waits for.
type waitKind int

const (
	waitIdle waitKind = iota // for the first byte of a request
	waitHead
	waitBody
)

// waitDeadline is the clock when a wait that began at since is over. A stop cuts every
// wait short, but not before it has begun: whoever sends within the last call is
// answered.
func (s *Server) waitDeadline(kind waitKind, since int64) int64 {
	most, rest := s.Limits.IdleTime, drainIdleTime+2*stopTick // a clock that notes a wait is a tick late, and one that ends it may be early by another
	switch kind {
	case waitHead:
		most, rest = s.Limits.HeadTime, drainReadTime
	case waitBody:
		most, rest = s.Limits.BodyTime, drainReadTime
	}
	if stopped := s.stoppedAt.Load(); stopped != 0 {
		return min(since+int64(most), max(since, stopped)+int64(rest))
	}
	if kind == waitIdle && s.atCapacity.Load() {
		most = min(most, capacityIdleTime)
	}
	return since + int64(most)
}
