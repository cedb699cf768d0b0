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
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/http2"
	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/pool"
)

// A holdingBackend keeps all requests until release, and counts.
type holdingBackend struct {
	*testutil.Server
	mu       sync.Mutex
	held     int
	perConn  map[int]int
	most     int // on one connection at a time
	order    []string
	released chan struct{}
}

// serveHolding starts a backend that allows streams at a time on one connection.
func serveHolding(t *testing.T, streams int) *holdingBackend {
	h := &holdingBackend{perConn: map[int]int{}, released: make(chan struct{})}
	h.Server = testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		c.Settings(maxStreams(streams))
		var responding sync.WaitGroup
		defer responding.Wait()
		for {
			q, ok := c.AwaitRequest()
			if !ok {
				return
			}
			h.note(c.Number, q.Fields[":path"])
			responding.Go(func() {
				select {
				case <-h.released:
				case <-t.Context().Done():
				}
				h.note(c.Number, "")
				c.Respond(q.StreamID, q.Fields[":path"])
			})
		}
	})
	return h
}

func (h *holdingBackend) note(connection int, path string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if path == "" {
		h.perConn[connection]--
		return
	}
	h.held++
	h.order = append(h.order, path)
	h.perConn[connection]++
	h.most = max(h.most, h.perConn[connection])
}

func (h *holdingBackend) holds(n int) func() bool {
	return func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.held == n
	}
}

func (h *holdingBackend) mostStreams() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.most
}

// As few connections as the backend's SETTINGS_MAX_CONCURRENT_STREAMS allows, and never more
// streams on one than that (E4).
func TestConnectionsAreAsFewAsTheBackendAllows(t *testing.T) {
	t.Parallel()
	const ours = 256
	for _, c := range []struct{ streams, requests, connections int }{
		{1, 1, 1}, {1, 4, 4}, {2, 4, 2}, {3, 4, 2}, {100, 100, 1}, {100, 101, 2}, {1000, ours, 1}, {1000, ours + 1, 2},
	} {
		t.Run(fmt.Sprintf("%d streams, %d requests", c.streams, c.requests), func(t *testing.T) {
			t.Parallel()
			s := serveHolding(t, c.streams)
			y := newStreamYard(t, s.Addr)
			y.Limits.Streams = ours
			var sinks []*streamSink
			for i := range c.requests {
				sinks = append(sinks, y.get(t, fmt.Sprint("/", i)))
			}

			testutil.Eventually(t, "the backend has all requests", s.holds(c.requests))
			assert.Equal(t, c.connections, s.Accepted())
			close(s.released)
			for i, sink := range sinks {
				assert.Equal(t, fmt.Sprint("200 /", i), sink.outcome(t))
			}
			assert.LessOrEqual(t, s.mostStreams(), c.streams, "MUST NOT, RFC 9113 §5.1.2")
		})
	}
}

// All connections together carry no more than the backend allows; the rest waits.
func TestRequestsWaitForStreams(t *testing.T) {
	t.Parallel()
	s := serveHolding(t, 2)
	y := newStreamYard(t, s.Addr)
	var sinks []*streamSink
	for i := range 20 {
		sinks = append(sinks, y.get(t, fmt.Sprint("/", i)))
	}
	testutil.Eventually(t, "all streams are in use", s.holds(8))
	close(s.released)

	for i, sink := range sinks {
		assert.Equal(t, fmt.Sprint("200 /", i), sink.outcome(t))
	}
	assert.Equal(t, 4, s.Accepted())
	assert.LessOrEqual(t, s.mostStreams(), 2, "MUST NOT, RFC 9113 §5.1.2")
}

// A backend may allow no streams for a while.
func TestBackendMayAllowNoStreamsForAWhile(t *testing.T) {
	t.Parallel()
	closed, opens := make(chan struct{}), make(chan struct{})
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		if c.Settings(); c.Number > 1 {
			c.WaitForEnd()
			return
		}
		c.AwaitRequest()
		c.Settings(maxStreams(0))
		for {
			if f, ok := c.Next(); !ok || f.Type == http2.FrameSettings && f.Flags&http2.FlagAck != 0 {
				break
			}
		}
		c.Respond(1, "ok")
		close(closed)
		<-opens
		c.Send(http2.AppendPing(nil, false, pingData[:]))
		for {
			f, ok := c.Next()
			if f.Type == http2.FrameHeaders {
				t.Error("MUST NOT, RFC 9113 §5.1.2: a stream was opened where none is allowed")
			}
			if !ok || f.Type == http2.FramePing {
				break
			}
		}
		c.Settings(maxStreams(5))
		c.RespondToAll()
	})
	y := newStreamYard(t, s.Addr)
	require.Equal(t, "200 ok", y.get(t, "/0").outcome(t))
	testutil.Receive(t, closed, "no streams are allowed")
	var sinks []*streamSink
	for i := range 5 {
		sinks = append(sinks, y.get(t, fmt.Sprint("/", i)))
	}
	close(opens)

	for i, sink := range sinks {
		assert.Equal(t, fmt.Sprint("200 /", i), sink.outcome(t))
	}
	assert.Equal(t, 1, s.Accepted(), "a backend that wants no requests wants no connection either")
}

// The queue has an end, and one client gets half of it at most.
func TestFullQueueRefusesJobs(t *testing.T) {
	t.Parallel()
	s := serveHolding(t, 1)
	y := newStreamYard(t, s.Addr, func(y *streamYard) { y.pool.Limits.PerBackend, y.pool.Limits.OneClient, y.Limits.Queue = 1, false, 8 })
	held := y.get(t, "/held")
	testutil.Eventually(t, "the only stream is in use", s.holds(1))
	other := netip.MustParseAddr("192.0.2.2")
	count := func(from netip.Addr) (n int) {
		for range 20 {
			sink := newStreamSink(getRequest("/"))
			if y.Push(y.addr, from, &sink.Job) {
				n++
			}
		}
		return n
	}

	assert.Equal(t, 4, count(someClient), "a client leaves as many places as it has. fairqueue.go, push")
	assert.Equal(t, 2, count(other))
	sink := newStreamSink(getRequest("/"))
	assert.Equal(t, ErrStreamQueueFull, y.RoundTrip(y.addr, someClient, &sink.Job))
	close(s.released)
	assert.Equal(t, "200 /held", held.outcome(t))
}

// A client with 500 requests delays the one of another by about one, and has half of the
// streams while it is alone.
func TestClientsTakeTurnsForStreams(t *testing.T) {
	t.Parallel()
	s := serveHolding(t, 8)
	y := newStreamYard(t, s.Addr, func(y *streamYard) { y.pool.Limits.PerBackend, y.pool.Limits.OneClient = 1, false })
	var sinks []*streamSink
	for i := range 500 {
		sinks = append(sinks, y.get(t, fmt.Sprint("/many/", i)))
	}
	testutil.Eventually(t, "one client has half of the streams", s.holds(4))
	single := y.push(t, netip.MustParseAddr("192.0.2.2"), getRequest("/single"))
	testutil.Eventually(t, "another client gets one of the others", s.holds(5))
	sinks = append(sinks, y.push(t, netip.MustParseAddr("192.0.2.3"), getRequest("/third/0")), y.push(t, netip.MustParseAddr("192.0.2.3"), getRequest("/third/1")))
	close(s.released)

	assert.Equal(t, "200 /single", single.outcome(t))
	for _, sink := range sinks {
		assert.Contains(t, sink.outcome(t), "200 /")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, path := range s.order {
		if strings.HasPrefix(path, "/third") {
			assert.Less(t, i, 12, "%s: each client has its turn. fairqueue.go, pop", path)
		}
	}
	assert.Equal(t, 1, s.Accepted())
}

// A client that leaves has its streams cancelled within a second, and its jobs taken out of
// the queue; the connection is kept (E10).
func TestStreamsOfAClientThatLeftAreCancelled(t *testing.T) {
	t.Parallel()
	var resets atomic.Int64
	asked := make(chan struct{}, 100)
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		c.Settings(maxStreams(10))
		for {
			f, ok := c.Next()
			switch {
			case !ok:
				return
			case f.Type == http2.FrameRSTStream && f.Code() == http2.Cancel:
				resets.Add(1)
			case f.Type == http2.FrameHeaders && f.Fields[":path"] == "/stays":
				c.Respond(f.StreamID, "ok")
			case f.Type == http2.FrameHeaders:
				asked <- struct{}{}
			}
		}
	})
	y := newStreamYard(t, s.Addr, func(y *streamYard) { y.pool.Limits.PerBackend = 1 })
	var gone []*streamSink
	for range 25 {
		gone = append(gone, y.get(t, "/gone"))
	}
	for range 10 {
		testutil.Receive(t, asked, "a request")
	}
	for _, sink := range gone {
		sink.left.Store(true)
	}
	began := time.Now()

	for _, sink := range gone {
		assert.Equal(t, "withdrawn", sink.outcome(t))
	}
	assert.Less(t, time.Since(began), time.Second)
	testutil.Eventually(t, "all ten streams are cancelled", func() bool { return resets.Load() == 10 })
	assert.Equal(t, "200 ok", y.get(t, "/stays").outcome(t))
	assert.Equal(t, 1, s.Accepted(), "the connection is kept")
	assert.EqualValues(t, 25, y.counts.Snapshot().Withdrawn)
}

// A backend that is frozen answers no PING. Safe requests are sent again elsewhere; what it
// may have processed is not.
func TestFrozenBackendIsLeft(t *testing.T) {
	t.Parallel()
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		if c.Settings(); c.Number > 1 {
			c.RespondToAll()
			return
		}
		<-t.Context().Done()
	})
	y := newStreamYard(t, s.Addr)
	q := getRequest("/post")
	q.Method = []byte("POST")
	get, post := y.get(t, "/get"), y.push(t, someClient, q)
	l := y.laneOf(t)
	testutil.Eventually(t, "both have their streams", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.nextID == 5
	})

	l.silentFor(y.Limits.Ping)
	l.missPing(t, y.Limits.Ping)

	assert.Equal(t, "200 /get", get.outcome(t))
	assert.Contains(t, post.outcome(t), "PING")
}

// A backend that answers PINGs may take its time for a response.
func TestSlowBackendThatAnswersPingsIsNotLeft(t *testing.T) {
	t.Parallel()
	pings := make(chan struct{})
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		c.Settings()
		q, _ := c.AwaitRequest()
		for range 3 {
			c.Await(http2.FramePing)
			testutil.Send(t, pings, struct{}{}, "the test sees the PING")
		}
		c.Respond(q.StreamID, "at last")
		c.WaitForEnd()
	})
	y := newStreamYard(t, s.Addr)
	sink := y.get(t, "/")
	l := y.laneOf(t)
	for range 3 {
		testutil.Eventually(t, "the last PING is answered", func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.pinged.IsZero() && len(l.streams) == 1
		})
		l.silentFor(y.Limits.Ping)
		testutil.Receive(t, pings, "a PING")
	}

	assert.Equal(t, "200 at last", sink.outcome(t))
	assert.Equal(t, 1, s.Accepted())
}

// A connection that was silent for a second must prove that it lives before it gets a
// request: it may have been closed while this process was frozen.
func TestSilentConnectionMustProveItself(t *testing.T) {
	t.Parallel()
	for _, answers := range []bool{true, false} {
		t.Run(fmt.Sprint("answers: ", answers), func(t *testing.T) {
			t.Parallel()
			s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
				c.Settings()
				q, _ := c.AwaitRequest()
				if c.Respond(q.StreamID, "first"); c.Number > 1 {
					c.WaitForEnd()
					return
				}
				c.Frozen = true
				f, ok := c.Next()
				for ok && f.Type == http2.FrameSettings {
					f, ok = c.Next()
				}
				assert.Equal(t, http2.FramePing, f.Type, "house rule: no request before the PING is answered. http2write.go, mustProve")
				if !answers {
					if f, ok = c.AwaitRequest(); ok {
						t.Error("a request on a connection that has not proved that it lives")
					}
					return
				}
				c.Send(http2.AppendPing(nil, true, f.Payload))
				c.RespondToAll()
			})
			y := newStreamYard(t, s.Addr)
			require.Equal(t, "200 first", y.get(t, "/").outcome(t))
			l := y.laneOf(t)
			l.silentFor(2 * proveAfter)
			q := getRequest("/second") // a POST: it is sent once
			q.Method = []byte("POST")

			second := y.push(t, someClient, q)
			if answers {
				assert.Equal(t, "200 /second", second.outcome(t))
				return
			}
			l.missPing(t, proveWithin)
			assert.Equal(t, "200 first", second.outcome(t), "the request has another connection, and was sent once")
		})
	}
}

// After DropAll a lane gets no new jobs, and ends with its last stream.
func TestDropAllDrainsLanes(t *testing.T) {
	t.Parallel()
	s := serveHolding(t, 100)
	y := newStreamYard(t, s.Addr)
	before := y.get(t, "/before")
	testutil.Eventually(t, "a stream is open", s.holds(1))

	y.pool.DropAll(s.Addr)
	after := y.get(t, "/after")

	testutil.Eventually(t, "the second request has arrived", s.holds(2))
	s.mu.Lock()
	assert.Equal(t, map[int]int{1: 1, 2: 1}, s.perConn, "requests by connection: the old one gets no more. sharedbackend.go, take")
	s.mu.Unlock()
	close(s.released)
	assert.Equal(t, "200 /before", before.outcome(t))
	assert.Equal(t, "200 /after", after.outcome(t))
	testutil.Eventually(t, "the old connection is closed", func() bool { return s.Open() == 1 })
}

// A lane without streams is closed after pool.Limits.IdleTime.
func TestIdleLaneEnds(t *testing.T) {
	t.Parallel()
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) { c.Settings(); c.RespondToAll() })
	y := newStreamYard(t, s.Addr, func(y *streamYard) { y.pool.Limits.IdleTime = 50 * time.Millisecond })
	require.Equal(t, "200 /", y.get(t, "/").outcome(t))

	testutil.Eventually(t, "the connection is closed", func() bool { return s.Open() == 0 && y.pool.Stats().Permits == 0 })
	assert.Equal(t, "200 /again", y.get(t, "/again").outcome(t))
}

// Jobs that wait for a stream for longer than pool.Limits.MaxWait fail.
func TestJobsDoNotWaitForEver(t *testing.T) {
	t.Parallel()
	s := serveHolding(t, 1)
	y := newStreamYard(t, s.Addr, func(y *streamYard) { y.pool.Limits.PerBackend, y.pool.Limits.MaxWait = 1, 100*time.Millisecond })
	held := y.get(t, "/held")
	testutil.Eventually(t, "the only stream is in use", s.holds(1))

	assert.Contains(t, y.get(t, "/waits").outcome(t), pool.ErrWaitTimeout.Error())
	assert.Contains(t, y.send(t, postRequest("/waits", "body")).outcome(t), pool.ErrWaitTimeout.Error())
	close(s.released)
	assert.Equal(t, "200 /held", held.outcome(t))
}

// A backend that takes too long for a head, or between two pieces of a body, loses the stream
// and not the connection.
func TestLateResponsesAreTimeouts(t *testing.T) {
	t.Parallel()
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		c.Settings()
		for {
			q, ok := c.AwaitRequest()
			if !ok {
				return
			}
			switch q.Fields[":path"] {
			case "/head":
			case "/body":
				c.Head(q.StreamID, false, "200")
			default:
				c.Respond(q.StreamID, "ok")
			}
		}
	})
	y := newStreamYard(t, s.Addr)
	y.timeouts.Head, y.timeouts.Idle = 150*time.Millisecond, 150*time.Millisecond
	head, body := y.get(t, "/head"), y.get(t, "/body")

	assert.Contains(t, head.outcome(t), client.ErrHeadTimeout.Error())
	assert.Contains(t, body.outcome(t), client.ErrBodyTimeout.Error())
	assert.Equal(t, "200 ok", y.get(t, "/").outcome(t))
	assert.Equal(t, 1, s.Accepted())
	assert.EqualValues(t, 2, y.counts.Cancelled.Load())
}

// After GOAWAY the streams that it allows are completed on the old connection; the others,
// whatever their method, go to another one, whole.
func TestGoAwayLosesNothing(t *testing.T) {
	t.Parallel()
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		if c.Settings(); c.Number > 1 {
			c.RespondToAll()
			return
		}
		for range 4 {
			c.AwaitRequest()
		}
		c.GoAway(http2.MaxWindow, http2.NoError) // "I am going to stop": RFC 9113 §6.8
		c.GoAway(3, http2.NoError)
		c.Respond(1, "old")
		c.Respond(3, "old")
		c.WaitForEnd()
	})
	y := newStreamYard(t, s.Addr)
	first := y.get(t, "/1")
	testutil.Eventually(t, "there is a lane", func() bool { return y.counts.Engines.Load() == 1 })
	second := y.get(t, "/2")
	l := y.laneOf(t)
	testutil.Eventually(t, "both have their streams", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.nextID == 5
	})
	third, fourth := y.send(t, postRequest("/3", "body of 3")), y.get(t, "/4")

	assert.Equal(t, "200 old", first.outcome(t))
	assert.Equal(t, "200 old", second.outcome(t))
	assert.Equal(t, "200 body of 3", third.outcome(t))
	assert.Equal(t, "200 /4", fourth.outcome(t))
	testutil.Eventually(t, "the old connection is closed", func() bool { return s.Open() == 1 })
}

// Jobs are pushed just when lanes retire: none is lost between the look at the queue and the
// end of the lane (E5).
func TestNoJobIsLostWhenALaneRetires(t *testing.T) {
	t.Parallel()
	const clients, each = 8, 60
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) { c.Settings(); c.RespondToAll() })
	y := newStreamYard(t, s.Addr, func(y *streamYard) { y.pool.Limits.IdleTime = time.Millisecond })
	var all sync.WaitGroup
	var rounds sync.WaitGroup
	for round := range each {
		rounds.Add(clients)
		if round%10 == 9 { // let the lane retire, or nearly so: this is the input, not a wait
			time.Sleep(tickInterval + time.Duration(round/10-3)*500*time.Microsecond)
		}
		for i := range clients {
			all.Go(func() {
				defer rounds.Done()
				path := fmt.Sprintf("/%d/%d", i, round)
				assert.Equal(t, "200 "+path, y.get(t, path).outcome(t), "a job was pushed while its lane retired, and is lost. sharedbackend.go, retire")
			})
		}
		rounds.Wait()
	}
	testutil.WaitGroup(t, &all, "all jobs end")

	assert.Greater(t, s.Accepted(), 1, "lanes retired between jobs")
}

// A lane without streams waits, and does not look around (E8).
func TestIdleLaneSleeps(t *testing.T) {
	t.Parallel()
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) { c.Settings(); c.RespondToAll() })
	y := newStreamYard(t, s.Addr)
	require.Equal(t, "200 /", y.get(t, "/").outcome(t))
	l := y.laneOf(t)

	testutil.Eventually(t, "the reader sleeps until the lane has been idle for too long. http2tick.go, tick", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return time.Until(l.armed) > y.pool.Limits.IdleTime/2
	})
}
