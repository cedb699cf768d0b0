package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/client"
)

// Seeded random steps on a fake clock, with two engines. After each step, when all
// goroutines are blocked, the invariants must hold.
func TestEngineModelHoldsItsInvariants(t *testing.T) {
	t.Parallel()
	var given int64
	for seed := range uint64(150) {
		synctest.Test(t, func(t *testing.T) {
			m := newEngineModel(seed)
			defer time.Sleep(time.Hour) // if a check fails, all goroutines must still end
			defer m.r.OnClientGone()
			for step := range 120 {
				what := m.step()
				synctest.Wait()
				m.check(t, fmt.Sprintf("seed %d, step %d, %s", seed, step, what))
			}
			if seed%2 == 0 {
				m.r.OnClientGone()
			}
			time.Sleep(time.Hour) // on the fake clock, like every sleep here
			m.check(t, fmt.Sprintf("seed %d, at the end", seed))
			require.Empty(t, m.r.engines)
			require.Zero(t, m.lanes.Load(), "connections that were not returned. engine.go, runLane")
			for _, s := range m.sinks {
				require.EqualValues(t, 1, s.ends.Load(), "every job ends once: %s", s.id)
			}
			given += m.given.Load()
		})
	}
	require.NotZero(t, given, "the model must give connections back")
}

type engineModel struct {
	random  *rand.Rand
	bad     int // probability of each kind of trouble, in percent
	r       Registry
	y       engineYard
	of      map[*Engine]*atomic.Pointer[fakeLane] // each engine's newest lane
	sinks   []*fakeSink                           // of all jobs
	lanes   atomic.Int64                          // open
	closing atomic.Int64                          // of them, being closed
	dropped atomic.Int64                          // how often all connections were dropped
	given   atomic.Int64                          // connections that were given back
}

func newEngineModel(seed uint64) *engineModel {
	m := &engineModel{random: rand.New(rand.NewPCG(seed, 13)), of: map[*Engine]*atomic.Pointer[fakeLane]{}}
	m.bad = m.random.IntN(50)
	m.y.linger = 20 * time.Millisecond
	return m
}

// step does one random thing, and describes it.
func (m *engineModel) step() string {
	switch n := m.random.IntN(20); {
	case n < 12:
		return m.push()
	case n < 14 && len(m.sinks) > 0:
		s := m.sinks[m.random.IntN(len(m.sinks))]
		s.left.Store(true)
		return s.id + " is no longer wanted"
	case n < 15:
		m.dropped.Add(1)
		return "all connections are dropped"
	default:
		pause := time.Duration(m.random.IntN(60)) * time.Millisecond
		time.Sleep(pause)
		return fmt.Sprint(pause, " pass")
	}
}

// push pushes a job. Its fates are chosen here, so that a seed always gives the same
// history.
func (m *engineModel) push() string {
	s := newFakeSink(fmt.Sprint("job ", len(m.sinks)))
	if m.random.IntN(3) == 0 { // the backend is slow, or was paused
		s.work = time.Duration(m.random.IntN(50)) * time.Millisecond
	}
	for i := range s.fates {
		if m.random.IntN(100) < m.bad {
			s.fates[i] = fate(m.random.IntN(6))
		}
	}
	if m.random.IntN(200) < m.bad {
		s.parks = 1 + m.random.IntN(2)
	}
	addr := string('a' + rune(m.random.IntN(2)))
	create := func() *Engine {
		e := m.y.engine()
		m.of[e] = new(atomic.Pointer[fakeLane])
		open := m.opener(m.of[e], rand.New(rand.NewPCG(m.random.Uint64(), 17)))
		e.openLane = func(ctx context.Context, _ bool) (Lane, error) { return open(ctx, nil) }
		return e
	}
	if !m.r.Push(addr, &s.Job, create) {
		return "a push is refused"
	}
	m.sinks = append(m.sinks, s)
	return s.id + " is pushed to " + addr
}

// opener returns a function that opens lanes for one engine, and stores the newest in last.
func (m *engineModel) opener(last *atomic.Pointer[fakeLane], random *rand.Rand) (open func(ctx context.Context, lost Lane) (Lane, error)) {
	open = func(ctx context.Context, lost Lane) (Lane, error) {
		if lost != nil {
			m.lanes.Add(-1)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if random.IntN(100) < m.bad/4 {
			return nil, client.ErrRefused
		}
		m.lanes.Add(1)
		drops := m.dropped.Load()
		l := newFakeLane(func(j *Job) fate {
			s := j.Sink.(*fakeSink)
			time.Sleep(s.work)
			if s.tries++; s.tries > len(s.fates) { // after connections that were given back
				return fateRespond
			}
			return s.fates[s.tries-1]
		})
		l.ignoresClose = random.IntN(100) < m.bad/3
		l.shouldReturnFn = func() bool { return m.dropped.Load() != drops }
		last.Store(l)
		l.redialFn = open
		l.giveBackFn = func() {
			m.given.Add(1)
			m.lanes.Add(-1)
			last.Store(nil)
		}
		l.onClose = func() {
			m.closing.Add(1)
			time.Sleep(5 * time.Millisecond) // time for a successor to start
			m.closing.Add(-1)
			m.lanes.Add(-1)
		}
		return l, nil
	}
	return open
}

// check verifies the invariants. It is called when all goroutines are blocked.
func (m *engineModel) check(t *testing.T, where string) {
	t.Helper()
	m.r.mu.Lock()
	defer m.r.mu.Unlock()
	inHand := 0
	for e, last := range m.of { // including those that have retired
		inHand += len(e.queue) + e.inFlight
		if l := last.Load(); l != nil && m.closing.Load() == 0 {
			require.False(t, len(e.queue) > 0 && l.capacity() > 0, "%s: jobs are queued for %s and its lane has capacity, but the writer sleeps. engine.go, writeLoop", where, e.addr)
		}
	}
	c := &m.y.counts
	require.LessOrEqual(t, uint64(m.lanes.Load()), c.Engines.Load()-c.Retired.Load(), "%s: an engine has one connection at a time. engine.go, runLane", where)
	require.EqualValues(t, c.Pushed.Load(), uint64(inHand)+c.byState[jobDone].Load()+c.byState[jobFailed].Load()+c.byState[jobWithdrawn].Load(),
		"%s: a job is lost, has ended twice, or was pushed to an engine that has retired. unanswered.go, resolveUnanswered; registry.go, retire", where)
}
