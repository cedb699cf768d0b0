package engine

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/http2"
	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/pool"
)

// A streamYard is a multiplexer with one backend, for tests.
type streamYard struct {
	*Multiplexer
	addr   string
	counts Counts
	pool   *pool.Pool
}

// newStreamYard returns a multiplexer for the backend at addr. When the test ends it closes
// it, and requires that each job has ended once, and that no connection is left.
func newStreamYard(t testing.TB, addr string, change ...func(y *streamYard)) *streamYard {
	t.Helper()
	y := &streamYard{addr: addr}
	y.pool = pool.New(pool.Limits{PerBackend: 4, Total: 4, OneClient: true, MaxWait: testutil.MaxWait, IdleTime: time.Hour, Lifetime: time.Hour})
	timeouts := testTimeouts
	y.Multiplexer = NewMultiplexer(y.pool, &timeouts, &y.counts)
	y.Limits.Ping = 2 * testutil.MaxWait // a slow machine is no frozen backend
	for _, f := range change {
		f(y)
	}
	t.Cleanup(func() {
		y.Close()
		testutil.Eventually(t, "all lanes have ended", func() bool { return y.counts.Engines.Load() == y.counts.Retired.Load() })
		testutil.Eventually(t, "each job has ended, once (http2pass.go)", func() bool {
			s := y.counts.Snapshot()
			return s.Pushed == s.Done+s.Failed+s.Withdrawn
		})
		assert.Zero(t, y.pool.Stats().Permits, "a connection was not returned. http2tick.go, end")
		y.pool.Close()
	})
	return y
}

var someClient = netip.MustParseAddr("192.0.2.1")

// get pushes a GET of path, and returns its sink.
func (y *streamYard) get(t testing.TB, path string, change ...func(*streamSink)) *streamSink {
	t.Helper()
	return y.push(t, someClient, getRequest(path), change...)
}

func (y *streamYard) push(t testing.TB, from netip.Addr, q *client.Request, change ...func(*streamSink)) *streamSink {
	t.Helper()
	s := newStreamSink(q, change...)
	assert.True(t, y.Push(y.addr, from, &s.Job), "the queue has room")
	return s
}

// send sends q with RoundTrip, and returns its sink.
func (y *streamYard) send(t testing.TB, q *client.Request, change ...func(*streamSink)) *streamSink {
	t.Helper()
	s := newStreamSink(q, change...)
	go func() { // ends with the job
		if err := y.RoundTrip(y.addr, someClient, &s.Job); err != nil {
			t.Errorf("the request is not accepted: %v", err)
		}
		close(s.returned)
	}()
	return s
}

// A streamSink records the response to a job.
type streamSink struct {
	Job
	response *client.Response
	room     int                      // of Room
	onData   func(piece []byte) error // called first by Data, and may block; nil: not
	onTurn   func()                   // AwaitTurn

	mu        sync.Mutex
	status    int
	heads     int
	fields    map[string]string
	body      strings.Builder
	trailers  map[string]string
	interims  []int
	pauses    int
	ends      int
	why       error
	left      atomic.Bool // the response is no longer wanted
	committed atomic.Bool
	finished  chan struct{} // closed by End
	returned  chan struct{} // closed when RoundTrip has returned
}

func newStreamSink(q *client.Request, change ...func(*streamSink)) *streamSink {
	s := &streamSink{room: 32 << 10, finished: make(chan struct{}), returned: make(chan struct{})}
	q.OnInterim = func(h *client.Response) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.interims = append(s.interims, h.Status)
		return nil
	}
	s.Request, s.Sink = q, s
	for _, f := range change {
		f(s)
	}
	return s
}

func (s *streamSink) Wanted() bool    { return !s.left.Load() }
func (s *streamSink) Committed() bool { return s.committed.Load() }
func (s *streamSink) Room() int       { return s.room }

func (s *streamSink) Head(a *client.Response) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heads++
	s.status, s.fields = a.Status, fieldMap(a.Fields)
	s.body.Reset()
	s.response = a
}

func (s *streamSink) Data(piece []byte) error {
	if s.onData != nil {
		if err := s.onData(piece); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.body.Write(piece)
	return nil
}

func (s *streamSink) Pause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pauses++
	return nil
}

func (s *streamSink) WantsTrailers() bool { return true }
func (s *streamSink) Trailers() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trailers = fieldMap(s.response.Trailers)
	return nil
}

func (s *streamSink) AwaitTurn() {
	if s.onTurn != nil {
		s.onTurn()
	}
}

func (s *streamSink) End(why error) Flusher {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why = why; s.ends == 0 {
		close(s.finished)
	}
	s.ends++
	return nil
}

// outcome waits for the end of the job, and returns "200 the body", or the error.
func (s *streamSink) outcome(t testing.TB) string {
	t.Helper()
	testutil.Receive(t, s.finished, "the end of "+string(s.Request.Target))
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ends != 1:
		return fmt.Sprintf("ended %d times", s.ends)
	case s.why != nil:
		return s.why.Error()
	case s.left.Load():
		return "withdrawn"
	}
	return fmt.Sprintf("%d %s", s.status, s.body.String())
}

// received returns how much of the body has arrived.
func (s *streamSink) received() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.body.Len()
}

func fieldMap(all []http1.Field) map[string]string {
	m := map[string]string{}
	for _, f := range all {
		m[string(f.Name)] = string(f.Value)
	}
	return m
}

// laneOf returns the only lane of y.
func (y *streamYard) laneOf(t testing.TB) (l *http2Lane) {
	t.Helper()
	b := y.backendFor(y.addr)
	testutil.Eventually(t, "there is one lane", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.lanes) == 1 {
			l = b.lanes[0]
		}
		return l != nil
	})
	return l
}

// silentFor makes l believe that it has heard nothing of the backend for so long.
func (l *http2Lane) silentFor(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = wallNow().Add(-d)
}

// missPing waits until l has sent a PING, and makes it believe that it was so long ago.
func (l *http2Lane) missPing(t testing.TB, ago time.Duration) {
	t.Helper()
	testutil.Eventually(t, "a PING is sent", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		sent := !l.pinged.IsZero()
		if sent {
			l.pinged = l.pinged.Add(-ago)
		}
		return sent
	})
}

// maxStreams is the setting that allows n streams at a time.
func maxStreams(n int) http2.Setting {
	return http2.Setting{ID: http2.SettingMaxConcurrentStreams, Value: uint32(n)}
}
