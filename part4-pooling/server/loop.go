//go:build linux

package server

import (
	"net/netip"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"socketup/part4-pooling/socket"
)

// A loop serves many connections, with one goroutine as long as no handler
// takes its time. Whoever has its token leads:
//
//	the leader  waits for news of any connection, and reads what has come
//	            takes one request after the other from it, and calls the handler itself
//	            writes all answers that are ready, in one go, and looks for the next news
//
// A connection's turn is maxTurn requests. What is left of a deep pipeline waits for
// its next turn, in the next round: news first, then those that were queued before
// them. So neighbours of a greedy client wait for a turn of its, not for all it sent.
//
// When a handler blocks, somebody else leads on from the very place where the
// old leader is stuck (token.go).
//
// The law of the lock: it guards the loop and every connection of it, and is
// held by whoever touches them, but not while he waits for news, is in a
// handler, or writes.
type loop struct {
	srv      *Server
	poller   *poller // the leader's
	followFn func()
	done     chan struct{} // closed when nobody leads any more

	mu        sync.Mutex
	conns     []*transport // by descriptor; nil where there is none
	token     token
	stock     stock
	next, all int          // of the poller's news: those not looked at yet
	left      int          // requests that cur may still have in this turn
	round     []*transport // that have their turns in this round; nil: had it
	turns     int          // of round, so far
	resumed   []*transport // that wait for the next round
	buried    []int        // descriptors to be closed when all news are looked at
	waiting   bool         // the leader does, and has to be woken
	cur       *transport   // whose requests are being taken; nil for none
}

const DefaultWait = "loop"

// newLoops makes as many loops as Go uses processors.
func newLoops(s *Server) (all []driver, err error) {
	for range runtime.GOMAXPROCS(0) {
		l, err := newLoop(s)
		if err != nil {
			for _, other := range all {
				other.discard()
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
		x := l.receive()
		if x == nil {
			close(l.done)
			return
		}
		if x.c.t.give(x) {
			continue
		}
		if l.token.offer(x.number) {
			followers.run(l.followFn)
		}
		c, number := x.c.t, x.number // finish lets others use x again
		l.mu.Unlock()
		x.answer()
		l.mu.Lock()
		mine := l.token.takeBack(number)
		c.finish(x)
		c.attend()
		if !mine {
			l.mu.Unlock()
			runtime.Gosched() // others may have woken at the same time: one write for all
			l.mu.Lock()
			c.act()
			return
		}
	}
}

// follow is what stands by while a handler runs. It ends when
// the token is not to be had, or lead ends; nobody waits for it.
func (l *loop) follow() {
	l.mu.Lock()
	mine := l.token.take()
	l.mu.Unlock()
	if mine {
		l.lead()
	}
}

// receive waits for the next request of any connection. It returns nil when
// the loop is closed. With the lock held.
func (l *loop) receive() *exchange {
	for {
		if c := l.cur; c != nil {
			if l.left == 0 && c.takesMore() {
				if l.othersWait() {
					l.cur = nil
					c.yield()
					c.act()
					continue
				}
				l.left = maxTurn
			}
			if x := c.take(); x != nil && x.alone {
				go c.handleAlone(x) // ends when the handler does
			} else if x != nil {
				l.left--
				return x
			}
			l.cur = nil
			c.pause()
			c.act()
		}
		l.left = maxTurn
		switch {
		case l.next < l.all:
			n := l.poller.at(l.next)
			l.next++
			if c := l.conns[n.fd]; c != nil {
				l.hear(c, n)
			}
		case l.turns < len(l.round):
			l.resume()
		case !l.wait():
			return nil
		}
	}
}

// othersWait says whether another connection has news, or waits for its turn. If
// none does, a turn may be longer: its answers leave in one write. With the lock
// held, but not all the time.
func (l *loop) othersWait() bool {
	if l.next == l.all && l.turns == len(l.round) {
		l.mu.Unlock()
		runtime.Gosched()
		n, _ := l.poller.wait(false) // an error comes again in wait
		l.mu.Lock()
		l.next, l.all = 0, n
	}
	return l.next < l.all || l.turns < len(l.round) || len(l.resumed) > 0
}

// hear passes news on. cur is whom they give a turn.
func (l *loop) hear(c *transport, n news) {
	if c.end == open && (n.broken && is(c.fd, 0) || n.ended && c.srv.Aborts && is(c.fd, unix.POLLRDHUP)) {
		c.fail(errReset)
	}
	if c.hear(n.ended) {
		l.cur = c
	}
}

// is asks the kernel whether fd has been reset, or is in the states that events
// name. read(2) would say so too, but only behind what has come before, and in may
// be full, or belong to a handler.
func is(fd int, events int16) bool {
	ask := []unix.PollFd{{Fd: int32(fd), Events: events}} // POLLERR and POLLHUP are always told: poll(2)
	n, _ := unix.Poll(ask, 0)
	return n > 0 && ask[0].Revents&(events|unix.POLLERR|unix.POLLHUP) != 0
}

// owe gives c a turn in the next round. With the lock held.
func (l *loop) owe(c *transport) {
	l.resumed = append(l.resumed, c)
	l.wake()
}

func (l *loop) again(c *transport)   { l.poller.again(c.fd) }
func (l *loop) await(c *transport)   { c.changed.Wait() }
func (l *loop) blocked(c *transport) {} // the poller tells
func (l *loop) woken(c *transport)   {}
func (l *loop) finned(c *transport)  {}
func (l *loop) close(c *transport)   { l.bury(c.fd) }

// exited leads on for a handler that took its goroutine with it.
func (l *loop) exited(c *transport, alone bool, number uint64) {
	if !alone && l.token.takeBack(number) {
		go l.lead()
	}
}

// resume gives the next connection of the round its turn.
func (l *loop) resume() {
	c := l.round[l.turns]
	l.round[l.turns] = nil
	l.turns++
	if c.do(c.turnBegins()) {
		l.cur = c
	}
}

// wait begins a round: it waits for news, or to be woken, but not if a connection
// waits for its turn. With the lock held, but not while it waits.
func (l *loop) wait() bool {
	l.closeBuried()
	idle := len(l.resumed) == 0
	l.waiting = idle
	l.mu.Unlock()
	if !l.poller.slept {
		runtime.Gosched() // a loop that always finds news would keep others from running
	}
	n, err := l.poller.wait(idle)
	if socket.TimedOut(err) {
		l.poller.Reset()
		n, err = 0, nil
	}
	l.mu.Lock()
	l.waiting, l.next, l.all = false, 0, n
	l.round, l.resumed, l.turns = l.resumed, l.round[:0], 0
	return err == nil
}

// wake makes the leader look at what is not news. With the lock held.
func (l *loop) wake() {
	if l.waiting {
		l.waiting = false
		l.poller.Wake()
	}
}

// bury closes fd soon. The number is used again at once, so first all news that
// are on their way must be looked at: they would be taken for the next owner's.
func (l *loop) bury(fd int) {
	l.conns[fd] = nil
	l.buried = append(l.buried, fd)
	l.wake()
}

func (l *loop) closeBuried() {
	for _, fd := range l.buried {
		unix.Close(fd)
		l.srv.closed()
	}
	l.buried = l.buried[:0]
}

// add takes fd in.
func (l *loop) add(fd int, peer netip.Addr) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for fd >= len(l.conns) {
		l.conns = append(l.conns, nil)
	}
	l.conns[fd] = newTransport(l.srv, l, &l.mu, &l.stock, fd, peer)
	if err := l.poller.add(fd); err != nil {
		l.conns[fd] = nil
		return err
	}
	return nil
}

// each calls f for all connections, with the lock held.
func (l *loop) each(f func(*transport)) {
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
func (l *loop) discard() { l.poller.Close() }

// stop ends the loop. It has no connections any more.
func (l *loop) shutdown() {
	l.poller.Close()
	<-l.done
}
