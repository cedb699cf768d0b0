//go:build linux

package server

import (
	"runtime"

	"socketup/part4-pooling/socket"
)

// Turns keep one client from delaying the others (fairness). A connection with a deep
// pipeline takes maxTurnRequests requests, and then waits for the next round. In each
// round the leader first handles the events that the kernel reports, and then resumes
// the connections that were waiting when the round began. So neighbours of a greedy
// client wait for one of its turns, not for everything it has sent.

// queueTurn gives c a turn in the next round. The caller holds the lock.
func (l *loop) queueTurn(c *transport) {
	l.nextRound = append(l.nextRound, c)
	l.wake()
}

// othersWaiting reports whether there is an event, or a connection waits for its turn. If
// not, the turn is extended, and its responses leave in one write. The caller
// holds the lock; othersWaiting releases it while it polls.
func (l *loop) othersWaiting() bool {
	if l.nextEvent == l.numEvents && l.roundPos == len(l.round) {
		l.mu.Unlock()
		runtime.Gosched()
		n, _ := l.poller.wait(false) // beginRound gets the same error
		l.mu.Lock()
		l.nextEvent, l.numEvents = 0, n
	}
	return l.nextEvent < l.numEvents || l.roundPos < len(l.round) || len(l.nextRound) > 0
}

// beginRound gets the events of the next round. It waits for some, or for wake, unless a
// connection waits for its turn. It returns false when the loop is stopped. The caller
// holds the lock; beginRound releases it while it waits.
func (l *loop) beginRound() bool {
	l.closePending()
	block := len(l.nextRound) == 0
	l.waiting = block
	l.mu.Unlock()
	if !l.poller.blocked {
		runtime.Gosched() // a loop that always finds events would starve other goroutines
	}
	n, err := l.poller.wait(block)
	if socket.IsTimeout(err) {
		l.poller.ClearWake()
		n, err = 0, nil
	}
	l.mu.Lock()
	l.waiting, l.nextEvent, l.numEvents = false, 0, n
	l.round, l.nextRound, l.roundPos = l.nextRound, l.round[:0], 0
	return err == nil
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

// wake interrupts the leader's wait for events. The caller holds the lock.
func (l *loop) wake() {
	if l.waiting {
		l.waiting = false
		l.poller.Wake()
	}
}
