package engine

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"socketup/part4-pooling/http2"
	"socketup/part4-pooling/internal/testutil"
)

// A connection that takes no more requests lives on while a client reads its response slowly.
// A few of these must not leave the others without a connection.
func TestDrainedLanesMakeRoomForAnother(t *testing.T) {
	t.Parallel()
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		c.Settings()
		for {
			q, ok := c.AwaitRequest()
			if !ok {
				return
			}
			if q.Fields[":path"] != "/slow" {
				c.Respond(q.StreamID, "ok")
				continue
			}
			c.Head(q.StreamID, false, "200")
			c.GoAway(q.StreamID, http2.NoError)
		}
	})
	y := newStreamYard(t, s.Addr, func(y *streamYard) { y.pool.Limits.Spare = 50 * time.Millisecond })
	b := y.backendFor(y.addr)
	for i := range y.pool.Limits.PerBackend {
		slow := y.get(t, "/slow", func(s *streamSink) { s.committed.Store(true) })
		defer slow.left.Store(true)
		testutil.Eventually(t, "its connection is drained", func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.alive == i+1 && len(b.lanes) == 0
		})
	}

	began := time.Now()
	assert.Equal(t, "200 ok", y.get(t, "/").outcome(t))
	assert.Less(t, time.Since(began), testutil.MaxWait/2, "sharedbackend.go, mustYield")
	assert.Equal(t, y.pool.Limits.PerBackend, s.Open(), "one of them has ended")
}

// A client leaves as many streams to others as it has: of those that the pool has connections
// for, and not of those that PerBackend alone would allow.
func TestShareOfStreamsIsOfWhatThePoolAllows(t *testing.T) {
	t.Parallel()
	s := serveHolding(t, 2)
	y := newStreamYard(t, s.Addr, func(y *streamYard) { y.pool.Limits.OneClient, y.pool.Limits.Total = false, 1 })
	greedy := []*streamSink{y.get(t, "/greedy"), y.get(t, "/greedy")}
	testutil.Eventually(t, "the backend has a request", s.holds(1))

	other := y.push(t, netip.MustParseAddr("192.0.2.2"), getRequest("/other"))
	testutil.Eventually(t, "both streams are in use", s.holds(2))
	close(s.released)

	assert.Equal(t, "200 /other", other.outcome(t))
	for _, sink := range greedy {
		assert.Equal(t, "200 /greedy", sink.outcome(t))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	assert.Equal(t, "/other", s.order[1], "who has the second stream. sharedbackend.go, capacity")
}
