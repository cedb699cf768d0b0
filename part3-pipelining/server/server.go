package server

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"socketup/part3-pipelining/socket"
)

// A Server accepts connections and hands them to its drivers in turn (driver.go). One more
// goroutine enforces the time limits (clock.go). Set the exported fields before Serve,
// and do not change them after; Limits.Driver is read by New.
type Server struct {
	listener      socket.FD
	Handler       Handler
	Limits        Limits
	Log           *slog.Logger
	OnServed      func(Served) // called when a response is complete or has failed (served.go), with the lock of its connection held: it must not block; nil for none
	KeepQueue     bool         // the listener has other owners: a stop leaves them the accept queue as it is
	clock         *clock
	stopping      atomic.Bool   // drain.go
	stopRequested chan struct{} // has a token when runClock should note the stop
	stoppedAt     atomic.Int64  // the clock when the stop began; 0 before
	atCapacity    atomic.Bool   // clients wait in the accept queue, and no more can be accepted: idle connections close early
	lastSweep     time.Time     // when waitForCapacity last checked the idle ones; used by Serve only
	memory        memoryBudget  // of requests that wait behind others (waitingmemory.go)

	drivers    []driver
	nextDriver int           // index, modulo len(drivers), of the last one used
	openConns  atomic.Int64  // open connections
	connFreed  chan struct{} // has a token when a connection has closed since the last receive
	done       chan struct{} // closed when all connections are; ends runClock
}

// New returns a server for the listening socket fd (socket.Listen), which it owns from
// now on and closes when Serve returns, or if New fails. l must be valid
// (Limits.Validate). A warning or an error is written to log at most once a second with
// the same message.
func New(fd int, h Handler, l Limits, log *slog.Logger) (*Server, error) {
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // tcp(7); accepted sockets inherit it: a response does not wait for an ACK
	socket.LimitUnsent(fd)
	listener, err := socket.NewFD(fd)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("register the listening socket with the poller: %w", err)
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

// Serve accepts connections until Stop is called, and returns when all of them are
// closed. A handler that has outlived HandlerTime may still be running. Call it once.
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
			clientsWait := socket.AcceptQueueLen(s.listener.Sysfd) > 0 // accept(2) allocates a descriptor before it checks the queue
			if clientsWait && !s.atCapacity.Load() {
				s.Log.Warn("accept", "error", err) // no descriptors left: clients stay in the queue
			}
			s.waitForCapacity(clientsWait)
		}
	}
	s.drain()
	for _, d := range s.drivers {
		d.stop()
	}
	close(s.done)
	watch.Wait()
}

// accept waits for a connection, in Go's poller.
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

// addConn hands fd, the connection of the client at peer, to a driver.
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

// connClosed is called by a driver when it has closed a connection.
func (s *Server) connClosed() {
	s.openConns.Add(-1)
	select {
	case s.connFreed <- struct{}{}:
	default:
	}
}

func (s *Server) connLimitReached() bool { return s.Connections() >= s.Limits.Connections }

// Connections returns how many connections are open.
func (s *Server) Connections() int { return int(s.openConns.Load()) }

// waitForCapacity waits until a connection is closed. It also returns after
// drainIdleTime, because another process may have freed descriptors, or a client may have
// entered the accept queue. If clientsWait there, it checks the idle connections against a
// shorter limit (waitDeadline), once a second and not for every client, because checking
// all connections costs more than a request.
func (s *Server) waitForCapacity(clientsWait bool) {
	s.atCapacity.Store(clientsWait)
	if now := time.Now(); clientsWait && now.Sub(s.lastSweep) >= capacityIdleTime {
		s.lastSweep = now
		s.checkDeadlines()
	}
	select {
	case <-s.connFreed:
	case <-time.After(drainIdleTime):
	}
}

// checkDeadlines makes every connection check its deadlines.
func (s *Server) checkDeadlines() {
	s.forEachConn(func(t *transport) {
		t.checkDeadlines()
		t.runActions()
	})
}

// forEachConn calls f for every connection, with its lock held.
func (s *Server) forEachConn(f func(*transport)) {
	for _, d := range s.drivers {
		d.forEach(f)
	}
}

// A waitKind is what a connection waits for.
type waitKind int

const (
	waitIdle waitKind = iota // for the first byte of a request
	waitHead
	waitBody
)

// waitDeadline returns the clock at which a wait that began at since must end. A stop
// shortens every wait, but counts from the stop at the earliest: a client that sends
// within drainIdleTime of it is answered.
func (s *Server) waitDeadline(kind waitKind, since int64) int64 {
	limit, drainLimit := s.Limits.IdleTime, drainIdleTime+2*stopTick // stopTick twice: a recorded time may be a tick late, and the check a tick early
	switch kind {
	case waitHead:
		limit, drainLimit = s.Limits.HeadTime, drainReadTime
	case waitBody:
		limit, drainLimit = s.Limits.BodyTime, drainReadTime
	}
	if stopped := s.stoppedAt.Load(); stopped != 0 {
		return min(since+int64(limit), max(since, stopped)+int64(drainLimit))
	}
	if kind == waitIdle && s.atCapacity.Load() {
		limit = min(limit, capacityIdleTime)
	}
	return since + int64(limit)
}
