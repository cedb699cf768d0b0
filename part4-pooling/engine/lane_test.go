package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/internal/testutil"
)

// A fakeLane is a lane without a connection: a fate decides what becomes of each job.
type fakeLane struct {
	fate           func(*Job) fate
	onClose        func()
	ignoresClose   bool        // its connection has ended before the first write
	shouldReturnFn func() bool // nil: never
	giveBackFn     func()
	redialFn       func(ctx context.Context, lost Lane) (Lane, error)

	mu       sync.Mutex
	more     sync.Cond
	jobs     []*Job
	finished bool
	ended    error
	events   []laneEvent
	paused   bool
}

type fate int

const (
	fateRespond     fate = iota
	fateClose            // a response with Connection: close
	fateSilence          // the connection ends before the response
	fateHalf             // the connection ends in the middle of the response
	fateTimeout          // the response does not arrive in time
	fateIgnoreClose      // the connection had ended before the write
)

var errFake = fmt.Errorf("%w: its fate", client.ErrEnded)

func newFakeLane(f func(*Job) fate) *fakeLane {
	l := &fakeLane{fate: f, onClose: func() {}}
	l.more.L = &l.mu
	return l
}

func (l *fakeLane) capacity() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return 4 - len(l.jobs)
}

func (l *fakeLane) write(batch []*Job) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ignoresClose && len(l.events) == 0 && l.ended == nil {
		l.end(errFake)
		l.more.Signal()
	}
	if l.ignoresClose || l.ended != nil {
		return false
	}
	for _, j := range batch {
		j.moveTo(jobWritten)
	}
	l.jobs = append(l.jobs, batch...)
	l.more.Signal()
	return true
}

func (l *fakeLane) shouldReturn() bool { return l.shouldReturnFn != nil && l.shouldReturnFn() }

func (l *fakeLane) closeWrite() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finished = true
	l.more.Signal()
}

func (l *fakeLane) read() laneEvent {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.events) == 0 {
		switch {
		case len(l.jobs) > 0 && (l.paused || l.jobs[0].Sink.(*fakeSink).work == 0):
			j := l.jobs[0] // only read removes it
			l.mu.Unlock()
			f := l.fate(j) // may block
			l.mu.Lock()
			l.decide(j, f)
		case l.ended == nil && l.finished:
			l.end(errNoMoreJobs)
		case !l.paused:
			l.paused = true
			return laneEvent{kind: laneIdle}
		default:
			l.more.Wait()
		}
	}
	l.paused = false
	v := l.events[0]
	l.events = l.events[1:]
	switch v.kind {
	case laneHead:
		v.job.moveTo(jobResponding)
	case laneResponseEnd:
		l.jobs = l.jobs[1:]
	case laneClosed:
		l.ended = v.err
	}
	return v
}

func (l *fakeLane) end(why error) { l.events = append(l.events, laneEvent{kind: laneClosed, err: why}) }

func (l *fakeLane) decide(j *Job, f fate) {
	body := laneEvent{kind: laneData, job: j, piece: []byte(j.Sink.(*fakeSink).id)}
	switch f {
	case fateSilence, fateIgnoreClose:
		l.end(errFake)
	case fateTimeout:
		l.end(client.ErrHeadTimeout)
	case fateHalf:
		l.events = append(l.events, laneEvent{kind: laneHead, job: j}, body)
		l.end(errFake)
	case fateClose:
		l.events = append(l.events, laneEvent{kind: laneHead, job: j}, body, laneEvent{kind: laneResponseEnd, job: j})
		l.end(ErrServerClosing)
	default:
		l.events = append(l.events, laneEvent{kind: laneHead, job: j}, body, laneEvent{kind: laneResponseEnd, job: j})
	}
}

func (l *fakeLane) inFlight() []*Job        { return l.jobs }
func (l *fakeLane) unprocessed(j *Job) bool { return l.ended == ErrServerClosing }
func (l *fakeLane) Close()                  { l.onClose() }
func (l *fakeLane) stopWriting()            {}
func (l *fakeLane) giveBack()               { l.giveBackFn() }

func (l *fakeLane) redial(ctx context.Context) (Lane, error) { return l.redialFn(ctx, l) }

// A fakeSink records what happens to one job.
type fakeSink struct {
	Job
	id       string
	work     time.Duration // how long the backend takes
	fates    [2]fate       // on its first connection, and on its second
	tries    int
	parks    int // how often its response waits for its turn while others want the connection
	got      string
	heads    int
	ends     atomic.Int64
	left     atomic.Bool // the response is no longer wanted
	why      error
	flusher  Flusher // what End returns
	finished chan struct{}
}

func newFakeSink(id string) *fakeSink {
	s := &fakeSink{id: id, finished: make(chan struct{})}
	s.Job.Sink = s
	return s
}

func (s *fakeSink) Wanted() bool          { return !s.left.Load() }
func (s *fakeSink) Head(*client.Response) { s.heads++ }
func (s *fakeSink) Pause() error          { return nil }
func (s *fakeSink) WantsTrailers() bool   { return true }
func (s *fakeSink) Trailers() error       { return nil }
func (s *fakeSink) Room() int             { return 32 << 10 }
func (s *fakeSink) AwaitTurn()            { time.Sleep(s.work); s.parks = 0 }
func (s *fakeSink) Committed() bool       { return s.got != "" }

func (s *fakeSink) Data(piece []byte) error {
	if s.parks > 0 {
		s.parks--
		return ErrGiveBack
	}
	s.got += string(piece)
	return nil
}

func (s *fakeSink) End(why error) Flusher {
	s.why = why
	if s.ends.Add(1) == 1 {
		close(s.finished)
	}
	return s.flusher
}

// An engineYard creates engines with fake lanes.
type engineYard struct {
	counts Counts
	linger time.Duration
	open   func(lost Lane) (Lane, error)
}

func (y *engineYard) engine() *Engine {
	return New(func(ctx context.Context, _ bool) (Lane, error) { return y.lane(ctx, nil) }, y.linger, &y.counts)
}

func (y *engineYard) lane(ctx context.Context, lost Lane) (Lane, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	l, err := y.open(lost)
	if fake, ok := l.(*fakeLane); ok {
		fake.redialFn = y.lane
	}
	return l, err
}

// empty waits until all engines of y have retired.
func (y *engineYard) empty(t testing.TB) {
	t.Helper()
	testutil.Eventually(t, "all engines have retired", func() bool { return y.counts.Engines.Load() == y.counts.Retired.Load() })
}

// While a retiring engine still closes its connection, a successor starts. The old engine
// must not unregister the new one.
func TestRetiringEngineDoesNotUnregisterItsSuccessor(t *testing.T) {
	t.Parallel()
	var opened atomic.Int64
	closing, release := make(chan struct{}), make(chan struct{})
	answer := make(chan struct{})
	y := &engineYard{linger: time.Millisecond}
	y.open = func(Lane) (Lane, error) {
		number := opened.Add(1)
		l := newFakeLane(func(*Job) fate {
			if number > 1 {
				<-answer // the successor is busy
			}
			return fateRespond
		})
		if number == 1 {
			l.onClose = func() { close(closing); <-release }
		}
		return l, nil
	}
	var r Registry
	first, second, third := newFakeSink("1"), newFakeSink("2"), newFakeSink("3")
	require.True(t, r.Push("a", &first.Job, y.engine))
	testutil.Receive(t, closing, "the first engine retires")
	require.True(t, r.Push("a", &second.Job, y.engine))
	testutil.Eventually(t, "the second job has a new engine, not the retiring one (registry.go, retire)", func() bool { return opened.Load() == 2 })

	close(release)
	testutil.Eventually(t, "the first engine has retired", func() bool { return y.counts.Retired.Load() == 1 })
	require.True(t, r.Push("a", &third.Job, y.engine))

	assert.EqualValues(t, 2, y.counts.Engines.Load(), "the engine that retired has unregistered its successor: two engines for one backend. registry.go, retire")
	close(answer)
	testutil.Receive(t, second.finished, "the response to the second job")
	testutil.Receive(t, third.finished, "the response to the third job")
	y.empty(t)
}

// An engine whose connection should be returned finishes its jobs alongside a successor.
// When it retires, it must not unregister the successor.
func TestRecalledEngineDoesNotUnregisterItsSuccessor(t *testing.T) {
	t.Parallel()
	var opened atomic.Int64
	begun := make(chan int64, 3)
	release, answer := make(chan struct{}), make(chan struct{})
	y := &engineYard{linger: time.Millisecond}
	y.open = func(Lane) (Lane, error) {
		number := opened.Add(1)
		l := newFakeLane(func(*Job) fate {
			if begun <- number; number == 1 {
				<-release
			} else {
				<-answer // the successor is busy
			}
			return fateRespond
		})
		l.shouldReturnFn = func() bool { return number == 1 }
		return l, nil
	}
	var r Registry
	first, second, third := newFakeSink("1"), newFakeSink("2"), newFakeSink("3")
	require.True(t, r.Push("a", &first.Job, y.engine))
	testutil.Receive(t, begun, "the first job is on a connection that should be returned")
	require.True(t, r.Push("a", &second.Job, y.engine))
	require.EqualValues(t, 2, testutil.Receive(t, begun, "the second job"), "an unregistered engine gets no more jobs. registry.go, unregister")

	close(release)
	testutil.Eventually(t, "the first engine has retired", func() bool { return y.counts.Retired.Load() == 1 })
	require.True(t, r.Push("a", &third.Job, y.engine))

	assert.EqualValues(t, 2, y.counts.Engines.Load(), "the engine that retired has unregistered its successor: two engines for one backend. registry.go, remove")
	close(answer)
	testutil.Receive(t, second.finished, "the response to the second job")
	testutil.Receive(t, third.finished, "the response to the third job")
	y.empty(t)
}

// Jobs are pushed just when engines retire: a hundred thousand chances to lose one between
// the check of the queue and the removal from the registry.
func TestNoJobIsLostWhenAnEngineRetires(t *testing.T) {
	t.Parallel()
	const clients, jobs = 50, 2000
	y := &engineYard{linger: 100 * time.Microsecond}
	y.open = func(Lane) (Lane, error) { return newFakeLane(func(*Job) fate { return fateRespond }), nil }
	var group sync.WaitGroup
	for i := range clients {
		group.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 5))
			var r Registry
			for n := range jobs {
				s := newFakeSink(fmt.Sprintf("%d/%d", i, n))
				if !r.Push("a", &s.Job, y.engine) {
					t.Error("an idle engine refuses a job. registry.go, Push")
					return
				}
				select {
				case <-s.finished:
				case <-time.After(testutil.MaxWait):
					t.Errorf("a job was pushed while its engine retired, and is lost. registry.go, retire")
					return
				}
				if s.why != nil || s.got != s.id {
					t.Errorf("job %s ended with %q, %v", s.id, s.got, s.why)
				}
				time.Sleep(time.Duration(random.Int64N(int64(2 * y.linger)))) // around the idle time: this is the input, not a wait
			}
		})
	}
	testutil.WaitGroup(t, &group, "all goroutines of the test end")
	y.empty(t)
	assert.Greater(t, y.counts.Engines.Load(), uint64(clients), "engines retired between jobs")
	t.Logf("%d engines for %d jobs", y.counts.Engines.Load(), clients*jobs)
}

// Whatever backends and clients do, every job ends exactly once, with its own response or
// an error.
func TestEveryJobEndsExactlyOnce(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		if !runRandomJobs(t, seed) {
			t.Fatalf("seed %d", seed)
		}
	}
}

func runRandomJobs(t *testing.T, seed uint64) bool {
	var mu sync.Mutex // guards random
	random := rand.New(rand.NewPCG(seed, 7))
	roll := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return random.IntN(n)
	}
	bad := roll(60) // probability of each kind of trouble, in percent
	var open, closed atomic.Int64
	y := &engineYard{linger: time.Duration(roll(200)+1) * time.Microsecond}
	y.open = func(lost Lane) (Lane, error) {
		if lost != nil {
			closed.Add(1) // redial replaces the lost lane
		}
		if roll(100) < bad/4 {
			return nil, client.ErrRefused
		}
		open.Add(1)
		l := newFakeLane(func(*Job) fate {
			if roll(100) < bad {
				return fate(roll(6))
			}
			return fateRespond
		})
		l.ignoresClose = roll(100) < bad/3
		l.onClose = func() { closed.Add(1) }
		return l, nil
	}
	var r Registry
	var group sync.WaitGroup
	var pushed atomic.Uint64
	sinks := make([][]*fakeSink, 3)
	for i := range sinks {
		group.Go(func() {
			for n := range 30 {
				s := newFakeSink(fmt.Sprintf("%d/%d", i, n))
				if roll(10) == 0 {
					s.left.Store(true)
				}
				if roll(200) == 0 {
					r.OnClientGone()
				}
				if r.Push(string('a'+rune(roll(2))), &s.Job, y.engine) {
					pushed.Add(1)
					sinks[i] = append(sinks[i], s)
				}
				if roll(3) == 0 {
					time.Sleep(time.Duration(roll(100)) * time.Microsecond) // this is the input, not a wait
				}
				if len(sinks[i]) > 0 && roll(20) == 0 {
					sinks[i][roll(len(sinks[i]))].left.Store(true)
				}
			}
		})
	}
	testutil.WaitGroup(t, &group, "all goroutines of the test end")
	y.empty(t)
	for _, all := range sinks {
		for _, s := range all {
			switch {
			case s.ends.Load() != 1:
				return assert.Failf(t, "every job ends once", "job %s ended %d times", s.id, s.ends.Load())
			case s.heads > 2 || s.attempts > 2:
				return assert.Failf(t, "a job is tried at most twice", "job %s: %d", s.id, max(s.heads, s.attempts))
			case s.state == jobDone && s.got != s.id:
				return assert.Failf(t, "each job gets its own response", "job %s got %q", s.id, s.got)
			case s.state == jobFailed && s.why == nil:
				return assert.Failf(t, "a failure has a reason", "job %s", s.id)
			}
		}
	}
	c := &y.counts
	return assert.Equal(t, pushed.Load(), c.byState[jobDone].Load()+c.byState[jobFailed].Load()+c.byState[jobWithdrawn].Load()) &&
		assert.Equal(t, open.Load(), closed.Load(), "a connection was not returned. engine.go, runLane") &&
		assert.Empty(t, r.engines)
}

// A transition that the table does not allow panics.
func TestJobMovesOnlyAlongAllowedTransitions(t *testing.T) {
	t.Parallel()
	s := newFakeSink("1")
	for _, state := range []jobState{jobQueued, jobWritten, jobQueued, jobWritten, jobResponding, jobDone} {
		s.moveTo(state)
	}
	for state := jobNew; state <= jobWithdrawn; state++ {
		assert.PanicsWithValue(t, fmt.Sprintf("illegal job transition from Done to %v", state), func() { s.moveTo(state) })
	}
}

// The table of resolveUnanswered (unanswered.go), row by row.
func TestUnansweredJobsAreRetriedFailedOrWithdrawn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		fates []fate
		lanes int64
		why   error
	}{
		{"response", []fate{fateRespond}, 1, nil},
		{"no response, then one", []fate{fateSilence, fateRespond}, 2, nil},
		{"no response, twice", []fate{fateSilence, fateSilence}, 2, client.ErrEnded},
		{"not sent, twice", []fate{fateIgnoreClose, fateIgnoreClose}, 2, client.ErrEnded},
		{"not sent, then sent", []fate{fateIgnoreClose, fateRespond}, 2, nil},
		{"half a response sent to the client", []fate{fateHalf}, 1, client.ErrEnded},
		{"timeout", []fate{fateTimeout}, 1, client.ErrHeadTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			var opened atomic.Int64
			y := &engineYard{linger: time.Millisecond}
			y.open = func(Lane) (Lane, error) {
				f := c.fates[opened.Add(1)-1]
				l := newFakeLane(func(*Job) fate { return f })
				l.ignoresClose = f == fateIgnoreClose
				return l, nil
			}
			var r Registry
			s := newFakeSink("1")
			require.True(t, r.Push("a", &s.Job, y.engine))
			testutil.Receive(t, s.finished, "the end of the job")
			y.empty(t)

			assert.Equal(t, c.lanes, opened.Load())
			if !errors.Is(s.why, c.why) {
				t.Errorf("it ended with %v, want %v. unanswered.go, resolveUnanswered", s.why, c.why)
			}
		})
	}
}
