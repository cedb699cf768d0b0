package main

import (
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A server accepts connections and gives each to one of its loops (loop.go).
// There are as many as Go uses processors. A goroutine more watches the time
// (clock.go).
type server struct {
	listener parked
	handler  handler
	taker    taker // is asked first (taker.go); nil for none
	aborts   bool  // a client that closes its side does not want its answers any more
	limits   limits
	log      *slog.Logger
	clock    *clock
	stopping atomic.Bool // drain.go
	crowded  atomic.Bool // somebody had to wait for room, and the queue has not been empty since: idle connections had better go
	hurried  time.Time   // when they were told so; serve's own

	loops   []*loop
	turn    int           // which of them gets the next connection
	open    atomic.Int64  // connections
	removed chan struct{} // has a token when a connection was closed lately
	ended   chan struct{} // closed when serve is about to return
}

// newServer makes a server that listens on fd, which it owns from now on.
func newServer(fd int, h handler, l limits, log *slog.Logger) (*server, error) {
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // accepted sockets inherit it: an answer does not wait for an ACK
	listener, err := park(fd)
	if err != nil {
		return nil, fmt.Errorf("park the listening socket: %w", err)
	}
	s := &server{
		listener: listener, handler: h, limits: l, log: log, clock: newClock(),
		removed: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	for range runtime.GOMAXPROCS(0) {
		loop, err := newLoop(s)
		if err != nil {
			return nil, err
		}
		s.loops = append(s.loops, loop)
	}
	return s, nil
}

// serve accepts connections until stop is called, and returns when all of them
// are closed.
func (s *server) serve() {
	var watch sync.WaitGroup
	watch.Go(s.watch)
	for _, l := range s.loops {
		go l.lead() // until close
	}
	for !s.stopping.Load() {
		if s.full() {
			s.waitForRoom()
		} else if fd, err := s.accept(); err == nil {
			s.add(fd)
		} else if !timedOut(err) && err != unix.ECONNABORTED {
			if !s.crowded.Load() {
				s.log.Warn("accept", "error", err) // no descriptors left: the queue keeps who is in it
			}
			s.waitForRoom()
		}
	}
	s.drain()
	for _, l := range s.loops {
		l.close()
	}
	close(s.ended)
	watch.Wait()
}

// accept waits for a connection, parked.
func (s *server) accept() (fd int, err error) {
	parkErr := s.listener.raw.Read(func(listener uintptr) bool {
		fd, _, err = accept(int(listener))
		for err == unix.EINTR {
			fd, _, err = accept(int(listener))
		}
		if err == unix.EAGAIN {
			s.crowded.Store(false)
		}
		return err != unix.EAGAIN
	})
	if parkErr != nil {
		return -1, parkErr
	}
	return fd, err
}

// add starts to serve fd.
func (s *server) add(fd int) {
	s.open.Add(1)
	s.turn++
	err := unix.SetNonblock(fd, true)
	if err == nil {
		err = s.loops[s.turn%len(s.loops)].add(fd)
	}
	if err != nil {
		s.log.Warn("accept", "error", err)
		unix.Close(fd)
		s.closed()
	}
}

// closed notes that a connection is closed.
func (s *server) closed() {
	s.open.Add(-1)
	select {
	case s.removed <- struct{}{}:
	default:
	}
}

func (s *server) full() bool { return s.count() >= s.limits.connections }

func (s *server) count() int { return int(s.open.Load()) }

// waitForRoom waits until a connection is closed. It tries again by itself too,
// for somebody else may have had the descriptors. The idle ones are hurried once
// a second and not for every newcomer: the walk over all of them would be dearer
// than his request, and who becomes idle in a crowd knows (patience).
func (s *server) waitForRoom() {
	s.crowded.Store(true)
	if now := time.Now(); now.Sub(s.hurried) >= crowded {
		s.hurried = now
		s.each((*conn).check)
	}
	select {
	case <-s.removed:
	case <-time.After(lastCall):
	}
}

// each calls f for all connections, with their lock held.
func (s *server) each(f func(*conn)) {
	for _, l := range s.loops {
		l.each(f)
	}
}

// What a connection waits for.
type wait int

const (
	waitIdle wait = iota // for the first byte of a request
	waitHead
	waitBody
)

// patience is how long it may wait.
func (s *server) patience(kind wait) time.Duration {
	switch {
	case kind == waitHead && s.stopping.Load():
		return min(s.limits.headTime, lastBytes)
	case kind == waitHead:
		return s.limits.headTime
	case kind == waitBody && s.stopping.Load():
		return min(s.limits.bodyTime, lastBytes)
	case kind == waitBody:
		return s.limits.bodyTime
	case s.stopping.Load():
		return min(s.limits.idleTime, lastCall)
	case s.crowded.Load():
		return min(s.limits.idleTime, crowded)
	}
	return s.limits.idleTime
}
