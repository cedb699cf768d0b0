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
	listener socket.Parked
	Handler  Handler
	Taker    Taker // is asked first (taker.go); nil for none
	Aborts   bool  // a client that closes its side does not want its answers any more (loop.go)
	Limits   Limits
	Log      *slog.Logger
	clock    *clock
	stopping atomic.Bool   // drain.go
	told     chan struct{} // has a token when watch should hear of that
	stopped  atomic.Int64  // the clock when it did: the last call begins
	crowded  atomic.Bool   // somebody has to wait for room: idle connections had better go
	hurried  time.Time     // when they were told so; Serve's own

	drivers []driver
	turn    int           // which of them gets the next connection
	open    atomic.Int64  // connections
	removed chan struct{} // has a token when a connection was closed lately
	ended   chan struct{} // closed when Serve is about to return
}

// New makes a server that listens on fd, which it owns from now on. With an
// error nothing is left open.
func New(fd int, h Handler, l Limits, log *slog.Logger) (*Server, error) {
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // accepted sockets inherit it: an answer does not wait for an ACK
	listener, err := socket.Park(fd)
	if err != nil {
		return nil, fmt.Errorf("park the listening socket: %w", err)
	}
	s := &Server{
		listener: listener, Handler: h, Limits: l, Log: newQuiet(log), clock: newClock(),
		told: make(chan struct{}, 1), removed: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	if s.drivers, err = newDrivers(s, l.Wait); err != nil {
		s.listener.Close()
		return nil, err
	}
	return s, nil
}

// Abandon closes a server that will never Serve.
func (s *Server) Abandon() {
	for _, d := range s.drivers {
		d.discard()
	}
	s.listener.Close()
}

// Serve accepts connections until the server is told to stop, and returns when all
// of them are closed.
func (s *Server) Serve() {
	var watch sync.WaitGroup
	watch.Go(s.watch)
	for _, d := range s.drivers {
		go d.run() // until stop
	}
	for !s.stopping.Load() {
		if s.full() {
			s.waitForRoom(socket.Queued(s.listener.Fd) > 0)
		} else if fd, peer, err := s.accept(); err == nil {
			s.add(fd, peer)
		} else if !socket.TimedOut(err) {
			crowd := socket.Queued(s.listener.Fd) > 0 // accept(2) takes a descriptor before it looks into the queue
			if crowd && !s.crowded.Load() {
				s.Log.Warn("accept", "error", err) // no descriptors left: the queue keeps who is in it
			}
			s.waitForRoom(crowd)
		}
	}
	s.drain()
	for _, d := range s.drivers {
		d.shutdown()
	}
	close(s.ended)
	watch.Wait()
}

// accept waits for a connection, parked.
func (s *Server) accept() (fd int, peer unix.Sockaddr, err error) {
	parkErr := s.listener.Raw.Read(func(listener uintptr) bool {
		fd, peer, err = socket.Accept(int(listener))
		for err == unix.EINTR {
			fd, peer, err = socket.Accept(int(listener))
		}
		if err == unix.EAGAIN {
			s.crowded.Store(false)
		}
		return err != unix.EAGAIN
	})
	if parkErr != nil {
		return -1, nil, parkErr
	}
	return fd, peer, err
}

// add starts to Serve fd, the connection of a client at peer.
func (s *Server) add(fd int, peer unix.Sockaddr) {
	s.open.Add(1)
	s.turn++
	err := unix.SetNonblock(fd, true)
	if err == nil {
		err = s.drivers[s.turn%len(s.drivers)].add(fd, socket.AddrPort(peer).Addr())
	}
	if err != nil {
		s.Log.Warn("accept", "error", err)
		unix.Close(fd)
		s.closed()
	}
}

// closed notes that a connection is closed.
func (s *Server) closed() {
	s.open.Add(-1)
	select {
	case s.removed <- struct{}{}:
	default:
	}
}

func (s *Server) full() bool { return s.Connections() >= s.Limits.Connections }

// Connections is how many connections are open.
func (s *Server) Connections() int { return int(s.open.Load()) }

// waitForRoom waits until a connection is closed. It tries again by itself too,
// for another program may have had the descriptors, and a client may come into the
// queue. crowd says that one waits there: then the idle connections are hurried,
// once a second and not for every newcomer, for the walk over all of them would be
// dearer than its request, and what becomes idle in a crowd knows (until).
func (s *Server) waitForRoom(crowd bool) {
	s.crowded.Store(crowd)
	if now := time.Now(); crowd && now.Sub(s.hurried) >= crowded {
		s.hurried = now
		s.tick()
	}
	select {
	case <-s.removed:
	case <-time.After(lastCall):
	}
}

// tick has every connection look at the clock.
func (s *Server) tick() {
	s.each(func(t *transport) {
		t.tick()
		t.act()
	})
}

// each calls f for all connections, with their lock held.
func (s *Server) each(f func(*transport)) {
	for _, d := range s.drivers {
		d.each(f)
	}
}

// What a connection waits for.
type wait int

const (
	waitIdle wait = iota // for the first byte of a request
	waitHead
	waitBody
)

// until is the clock when a wait that began at since is over. A stop cuts every
// wait short, but not before it has begun: whoever sends within the last call is
// answered.
func (s *Server) until(kind wait, since int64) int64 {
	most, rest := s.Limits.IdleTime, lastCall+2*stopTick // a clock that notes a wait is a tick late, and one that ends it may be early by another
	switch kind {
	case waitHead:
		most, rest = s.Limits.HeadTime, lastBytes
	case waitBody:
		most, rest = s.Limits.BodyTime, lastBytes
	}
	if stopped := s.stopped.Load(); stopped != 0 {
		return min(since+int64(most), max(since, stopped)+int64(rest))
	}
	if kind == waitIdle && s.crowded.Load() {
		most = min(most, crowded)
	}
	return since + int64(most)
}
