//go:build linux

package server

import (
	"net/netip"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// A loop serves many connections. Handlers that return quickly run on one goroutine; an
// exclusive request gets one of its own (handlerio.go). The goroutine that holds the loop's
// token is the leader:
//
//	the leader  waits for events of any connection, and reads what has arrived
//	            takes one request after the other from it, and calls the handler itself
//	            writes all responses that are ready in one write, and waits for the next events
//
// A connection's turn is maxTurnRequests requests. The rest of a deep pipeline waits for
// the next round (rounds.go).
//
// When a handler blocks, a follower leads on from where the old leader stopped
// (leadertoken.go).
//
// The law of the lock: mu guards the loop and all its connections. A goroutine holds it
// while it uses them, but not while it waits for events, runs a handler, or writes.
type loop struct {
	srv      *Server
	poller   *poller // only the leader waits in it
	followFn func()
	done     chan struct{} // closed when the last leader ends

	mu                   sync.Mutex
	conns                []*transport // by descriptor; nil for none
	token                token
	cache                exchangeCache
	nextEvent, numEvents int          // events [nextEvent, numEvents) of the poller are not handled yet
	turnBudget           int          // requests that current may still take in this turn
	round                []*transport // connections with a turn in this round; nil: had it
	roundPos             int          // index in round of the next turn
	nextRound            []*transport // connections that wait for the next round
	toClose              []int        // descriptors to close when all events are handled
	waiting              bool         // the leader is in poller.wait and must be woken for anything but an event
	current              *transport   // the connection whose turn it is; nil for none
}

// DefaultDriver is the driver that Limits name by default: "loop" on Linux, "goroutines"
// elsewhere.
const DefaultDriver = "loop"

// newLoops returns GOMAXPROCS loops.
func newLoops(s *Server) (all []driver, err error) {
	for range runtime.GOMAXPROCS(0) {
		l, err := newLoop(s)
		if err != nil {
			for _, other := range all {
				other.closeUnused()
			}
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

func newLoop(s *Server) (*loop, error) {
	p, err := newPoller()
	l := &loop{srv: s, poller: p, done: make(chan struct{})}
	l.followFn = l.follow // created once: a method value allocates
	return l, err
}

// lead serves the loop until a follower acquires the token, or the loop is stopped.
func (l *loop) lead() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		x := l.nextRequest()
		if x == nil {
			close(l.done)
			return
		}
		if x.conn.transport.tryOffload(x) {
			continue
		}
		if l.token.offer(x.seq) {
			followers.run(l.followFn)
		}
		c, seq := x.conn.transport, x.seq // complete may recycle x
		l.mu.Unlock()
		x.run()
		l.mu.Lock()
		mine := l.token.reclaim(seq)
		c.complete(x)
		c.runEventActions()
		if !mine {
			l.mu.Unlock()
			runtime.Gosched() // let handlers that finish at the same time share one write
			l.mu.Lock()
			c.runActions()
			return
		}
	}
}

// follow runs on a worker goroutine while the leader calls a handler. It leads if it
// acquires the token, and returns otherwise; nothing waits for it.
func (l *loop) follow() {
	l.mu.Lock()
	mine := l.token.acquire()
	l.mu.Unlock()
	if mine {
		l.lead()
	}
}

// nextRequest waits for the next request of any connection. It returns nil when the loop
// is stopped. The caller holds the lock.
func (l *loop) nextRequest() *exchange {
	for {
		if c := l.current; c != nil {
			if l.turnBudget == 0 && c.canTakeMore() {
				if l.othersWaiting() {
					l.current = nil
					c.yieldTurn()
					c.runActions()
					continue
				}
				l.turnBudget = maxTurnRequests
			}
			if x := c.takeRequest(); x != nil && x.exclusive {
				go c.handleExclusive(x) // ends when the handler returns
			} else if x != nil {
				l.turnBudget--
				return x
			}
			l.current = nil
			c.endTurn()
			c.runActions()
		}
		l.turnBudget = maxTurnRequests
		switch {
		case l.nextEvent < l.numEvents:
			n := l.poller.event(l.nextEvent)
			l.nextEvent++
			if c := l.conns[n.fd]; c != nil {
				l.handleEvent(c, n)
			}
		case l.roundPos < len(l.round):
			l.resumeNext()
		case !l.beginRound():
			return nil
		}
	}
}

// handleEvent reports event n to c. If c may have requests, it becomes current.
func (l *loop) handleEvent(c *transport, n event) {
	if c.closeState == open && (n.hungUp && hasEvents(c.fd, 0) || n.peerClosed && c.srv.AbortOnClose && hasEvents(c.fd, unix.POLLRDHUP)) {
		c.fail(errReset)
	}
	if c.handleEvent(n.peerClosed) {
		l.current = c
	}
}

// hasEvents asks the kernel whether fd has been reset or has one of events (poll(2)).
// read(2) would report it too, but only after the bytes that arrived before it, and
// input may be full or belong to a handler.
func hasEvents(fd int, events int16) bool {
	ask := []unix.PollFd{{Fd: int32(fd), Events: events}} // POLLERR and POLLHUP are always reported: poll(2)
	n, _ := unix.Poll(ask, 0)
	return n > 0 && ask[0].Revents&(events|unix.POLLERR|unix.POLLHUP) != 0
}

func (l *loop) rearm(c *transport)         { l.poller.rearm(c.fd) }
func (l *loop) awaitInput(c *transport)    { c.changed.Wait() }
func (l *loop) awaitWritable(c *transport) {} // the poller reports it
func (l *loop) wakeReader(c *transport)    {}
func (l *loop) discardInput(c *transport)  {}
func (l *loop) closeSocket(c *transport)   { l.closeLater(c.fd) }

// handlerExited starts a new leader if the handler ended the leader's goroutine.
func (l *loop) handlerExited(c *transport, wasExclusive bool, seq uint64) {
	if !wasExclusive && l.token.reclaim(seq) {
		go l.lead()
	}
}

// closeLater closes fd before the next round. The kernel reuses the number immediately,
// so the events that the poller has returned must be handled first: they would reach the
// next connection with that number.
func (l *loop) closeLater(fd int) {
	l.conns[fd] = nil
	l.toClose = append(l.toClose, fd)
	l.wake()
}

func (l *loop) closePending() {
	for _, fd := range l.toClose {
		unix.Close(fd)
		l.srv.connClosed()
	}
	l.toClose = l.toClose[:0]
}

// add registers a connection for fd with the poller. The loop owns fd unless add fails.
func (l *loop) add(fd int, peer netip.Addr) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for fd >= len(l.conns) {
		l.conns = append(l.conns, nil)
	}
	l.conns[fd] = newTransport(l.srv, l, &l.mu, &l.cache, fd, peer)
	if err := l.poller.add(fd); err != nil {
		l.conns[fd] = nil
		return err
	}
	return nil
}

// forEach calls f for every connection, with the lock held.
func (l *loop) forEach(f func(*transport)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for fd := 0; fd < len(l.conns); fd++ { // f may release the lock, and conns may grow
		if c := l.conns[fd]; c != nil {
			f(c)
		}
	}
}

// run is the first leader. It returns when a follower leads, or the loop is stopped.
func (l *loop) run() { l.lead() }

// closeUnused closes a loop that has never run.
func (l *loop) closeUnused() { l.poller.Close() }

// stop ends the loop, whose connections are all closed, and waits for the leader.
func (l *loop) stop() {
	l.poller.Close()
	<-l.done
}
