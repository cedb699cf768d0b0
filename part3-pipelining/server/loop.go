//go:build linux

package server

import (
	"net/netip"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"socketup/part3-pipelining/socket"
)

// A loop serves many connections, with one goroutine as long as no handler
// takes its time. Whoever has its token leads:
//
//	the leader  waits for events of any connection, and reads what has come
//	            takes one request after the other from it, and calls the handler itself
//	            writes all responses that are ready, in one go, and looks for the next events
//
// A connection's turn is maxTurnRequests requests. What is left of a deep pipeline waits for
// its next turn, in the next round: events first, then those that were queued before
// them. So neighbours of a greedy client wait for a turn of its, not for all it sent.
//
// When a handler blocks, somebody else leads on from the very place where the
// old leader is stuck (leadertoken.go).
//
// The law of the lock: it guards the loop and every connection of it, and is
// held by whoever touches them, but not while he waits for events, is in a
// handler, or writes.
type loop struct {
	srv      *Server
	poller   *poller // the leader's
	followFn func()
	done     chan struct{} // closed when nobody leads any more

	mu                   sync.Mutex
	conns                []*transport // by descriptor; nil where there is none
	token                token
	cache                exchangeCache
	nextEvent, numEvents int          // of the poller's news: those not looked at yet
	turnBudget           int          // requests that cur may still have in this turn
	round                []*transport // that have their turns in this round; nil: had it
	roundPos             int          // of round, so far
	nextRound            []*transport // that wait for the next round
	toClose              []int        // descriptors to be closed when all events are looked at
	waiting              bool         // the leader does, and has to be woken
	current              *transport   // whose requests are being taken; nil for none
}

const DefaultDriver = "loop"

// newLoops makes as many loops as Go uses processors.
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
	l.followFn = l.follow // once: a method value is an allocation
	return l, err
}

// lead serves for as long as it has the token.
func (l *loop) lead() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		x := l.nextRequest()
		if x == nil {
			close(l.done)
			return
		}
		if l.token.offer(x.seq) {
			go l.followFn()
		}
		c, number := x.conn.transport, x.seq // finish lets others use x again
		l.mu.Unlock()
		x.run()
		l.mu.Lock()
		mine := l.token.reclaim(number)
		c.complete(x)
		c.runEventActions()
		if !mine {
			l.mu.Unlock()
			runtime.Gosched() // others may have woken at the same time: one write for all
			l.mu.Lock()
			c.runActions()
			return
		}
	}
}

// follow is the goroutine that stands by while a handler runs. It ends when
// the token is not to be had, or lead ends; nobody waits for it.
func (l *loop) follow() {
	l.mu.Lock()
	mine := l.token.acquire()
	l.mu.Unlock()
	if mine {
		l.lead()
	}
}

// nextRequest waits for the next request of any connection. It returns nil when
// the loop is closed. With the lock held.
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
				go c.handleExclusive(x) // ends when the handler does
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

// othersWaiting says whether another connection has an event, or waits for its turn. If
// none does, a turn may be longer: its responses leave in one write. With the lock
// held, but not all the time.
func (l *loop) othersWaiting() bool {
	if l.nextEvent == l.numEvents && l.roundPos == len(l.round) {
		l.mu.Unlock()
		runtime.Gosched()
		n, _ := l.poller.wait(false) // an error comes again in wait
		l.mu.Lock()
		l.nextEvent, l.numEvents = 0, n
	}
	return l.nextEvent < l.numEvents || l.roundPos < len(l.round) || len(l.nextRound) > 0
}

// handleEvent passes news on. cur is whom they give a turn.
func (l *loop) handleEvent(c *transport, n event) {
	if n.hungUp && c.closeState == open && firstBrokenLaw(c.fd) {
		c.fail(errReset)
	}
	if c.handleEvent(n.peerClosed) {
		l.current = c
	}
}

// firstBrokenLaw asks the kernel whether fd has been reset. read(2) would say so too, but
// only behind what has come before, and in may be full, or belong to a handler.
func firstBrokenLaw(fd int) bool {
	ask := []unix.PollFd{{Fd: int32(fd)}} // POLLERR and POLLHUP are always told: poll(2)
	n, _ := unix.Poll(ask, 0)
	return n > 0 && ask[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
}

// queueTurn gives c a turn in the next round. With the lock held.
func (l *loop) queueTurn(c *transport) {
	l.nextRound = append(l.nextRound, c)
	l.wake()
}

func (l *loop) rearm(c *transport)         { l.poller.rearm(c.fd) }
func (l *loop) awaitInput(c *transport)    { c.changed.Wait() }
func (l *loop) awaitWritable(c *transport) {} // the poller tells
func (l *loop) wakeReader(c *transport)    {}
func (l *loop) discardInput(c *transport)  {}
func (l *loop) closeSocket(c *transport)   { l.closeLater(c.fd) }

// handlerExited leads on for a handler that took its goroutine with it.
func (l *loop) handlerExited(c *transport, alone bool, number uint64) {
	if !alone && l.token.reclaim(number) {
		go l.lead()
	}
}

// resumeNext gives the next connection of the round its turn.
func (l *loop) resumeNext() {
	c := l.round[l.roundPos]
	l.round[l.roundPos] = nil
	l.roundPos++
	if c.react(c.onTurn()) {
		l.current = c
	}
}

// beginRound begins a round: it waits for events, or to be woken, but not if a connection
// waits for its turn. With the lock held, but not while it waits.
func (l *loop) beginRound() bool {
	l.closePending()
	idle := len(l.nextRound) == 0
	l.waiting = idle
	l.mu.Unlock()
	if !l.poller.blocked {
		runtime.Gosched() // a loop that always finds events would keep others from running
	}
	n, err := l.poller.wait(idle)
	if socket.IsTimeout(err) {
		l.poller.ClearWake()
		n, err = 0, nil
	}
	l.mu.Lock()
	l.waiting, l.nextEvent, l.numEvents = false, 0, n
	l.round, l.nextRound, l.roundPos = l.nextRound, l.round[:0], 0
	return err == nil
}

// wake makes the leader look at what is no event. With the lock held.
func (l *loop) wake() {
	if l.waiting {
		l.waiting = false
		l.poller.Wake()
	}
}

// closeLater closes fd soon. The number is used again at once, so first all events that
// are on their way must be looked at: they would be taken for the next owner's.
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

// add takes fd in.
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

// forEach calls f for all connections, with the lock held.
func (l *loop) forEach(f func(*transport)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for fd := 0; fd < len(l.conns); fd++ { // f may open the lock, and conns grow
		if c := l.conns[fd]; c != nil {
			f(c)
		}
	}
}

// run leads until stop.
func (l *loop) run() { l.lead() }

// abandon closes a loop that has never run.
func (l *loop) closeUnused() { l.poller.Close() }

// stop ends the loop. It has no connections any more.
func (l *loop) stop() {
	l.poller.Close()
	<-l.done
}
