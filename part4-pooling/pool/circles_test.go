package pool

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/client"
)

const ruleOrdering = "house rule: requests of one client connection reserve connections in the order in which they arrived, and get none before all earlier ones have had theirs, or they wait for each other. line.go"

// A queue models clients that pipeline. A request claims its reservation once a
// grant is ready, and returns its connection only when all requests ahead of it
// in its line have been answered, as if no response fitted into a slot.
type queue struct {
	p       *Pool
	lines   [4][]*pendingRequest
	inLines bool // requests reserve in the Line of theirs
	poolOf  [4]Line
}

// reserve makes a reservation for a request of line i. Two clients have two lines each.
func (q *queue) reserve(i int, a *pendingRequest) {
	var line *Line
	if q.inLines {
		line = &q.poolOf[i]
	}
	a.reservation, a.asked = q.p.Reserve(a.addr, modelClient[i/2], line), true
}

type pendingRequest struct {
	addr        string
	asked       bool
	reservation Reservation
	lease       *Lease
	suspended   bool // it has given its connection back, and has not asked again
}

func (a *pendingRequest) ready() bool {
	return a.asked && !a.suspended && a.lease == nil && (a.reservation.waiter == nil || len(a.reservation.waiter.ready) > 0)
}

func (q *queue) claim(t *testing.T, a *pendingRequest) {
	l, err := q.p.Claim(t.Context(), a.reservation, &testTimeouts)
	require.NoError(t, err)
	a.lease = l
}

// giveBack makes a request that waits for its turn give its connection back, if the pool
// wants it, and one whose turn has come ask again. It reports whether it did either.
func (q *queue) giveBack(i int, a *pendingRequest) bool {
	switch atTurn := q.lines[i][0] == a; {
	case a.suspended && atTurn:
		q.askAgain(i, a)
		return true
	case a.lease != nil && !atTurn && giveBackIfAsked(a.lease, time.Hour):
		a.lease, a.suspended = nil, true
		return true
	}
	return false
}

func (q *queue) askAgain(i int, a *pendingRequest) {
	a.reservation, a.suspended = q.p.ReserveAgain(a.reservation, modelClient[i/2], &q.poolOf[i]), false
}

// answer removes the first request of line i, if it has a connection.
func (q *queue) answer(i int, good bool) bool {
	line := q.lines[i]
	if len(line) == 0 || line[0].lease == nil {
		return false
	}
	q.p.put(line[0].lease, good)
	q.lines[i] = line[1:]
	return true
}

// drain runs every request as far as it can go, the last ones first, and reports
// whether all of them were answered.
func (q *queue) drain(t *testing.T) bool {
	for moved := true; moved; {
		moved = false
		for i := range q.lines {
			for _, a := range slices.Backward(q.lines[i]) {
				if !a.asked {
					q.reserve(i, a)
					moved = true
				}
				if a.ready() {
					q.claim(t, a)
					moved = true
				}
				moved = q.inLines && q.giveBack(i, a) || moved
			}
		}
		for i := range q.lines {
			moved = q.answer(i, true) || moved
		}
	}
	return len(slices.Concat(q.lines[:]...)) == 0
}

// cleanUp returns all connections, in any order.
func (q *queue) cleanUp(t *testing.T) {
	all := slices.Concat(q.lines[:]...)
	for i := range q.lines {
		for _, a := range q.lines[i] {
			if a.suspended {
				q.askAgain(i, a)
			}
		}
	}
	for len(all) > 0 {
		a := all[0]
		if all = all[1:]; a.ready() {
			q.claim(t, a)
		}
		if a.lease != nil {
			q.p.put(a.lease, true)
		} else if a.asked {
			all = append(all, a) // wait until others have returned theirs
		}
	}
}

// countDeadlocks plays many histories and counts those in which requests wait for
// each other in the end.
func countDeadlocks(t *testing.T, inOrder, inLines bool, spare time.Duration) (found int) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 17))
		m := newPoolModel(t, random.IntN)
		m.p.Dial = func(ctx context.Context, addr string, d time.Duration) (l *client.Conn, err error) {
			for l, err = m.dial(ctx, addr, d); err != nil; {
				l, err = m.dial(ctx, addr, d)
			}
			return l, err
		}
		m.p.Limits.PerBackend, m.p.Limits.Queue, m.p.Limits.Spare = 1+random.IntN(4), 0, spare
		q := &queue{p: m.p, inLines: inLines}
		for range 60 {
			i := random.IntN(len(q.lines))
			line := q.lines[i]
			switch random.IntN(3) {
			case 0:
				if len(line) < 6 {
					q.lines[i] = append(line, &pendingRequest{addr: places[random.IntN(len(places))]})
				}
			case 1:
				q.answer(i, random.IntN(4) > 0)
			}
			for _, a := range q.lines[i] {
				switch {
				case a.ready() && random.IntN(2) == 0:
					q.claim(t, a)
				case !a.asked && (inOrder || random.IntN(3) == 0):
					q.reserve(i, a)
				case inLines && random.IntN(3) == 0:
					q.giveBack(i, a)
				}
			}
		}
		if !q.drain(t) {
			found++
		}
		q.cleanUp(t)
		m.end()
	}
	return found
}

func TestReservationsInOrderNeverDeadlock(t *testing.T) {
	t.Parallel()

	assert.Zero(t, countDeadlocks(t, true, true, 0), ruleOrdering)
	assert.Zero(t, countDeadlocks(t, true, true, time.Second), "a request that has given its connection back gets one when its turn has come. giveback.go")
	assert.NotZero(t, countDeadlocks(t, false, true, 0), "this test cannot find a deadlock")
	assert.NotZero(t, countDeadlocks(t, true, false, 0), "with shares it is not enough to reserve in order: a later request can overtake one whose client has used up its share")
}
