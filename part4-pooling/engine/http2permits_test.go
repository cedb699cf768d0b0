package engine

import (
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
