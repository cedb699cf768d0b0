package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/http2"
	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/pool"
)

// Where the backend allows no streams at all, jobs fail after pool.Limits.MaxWait, however
// long the connection may be idle.
func TestJobsDoNotWaitForEverWhereNoStreamIsAllowed(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{})
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
		c.WaitForEnd()
	})
	y := newStreamYard(t, s.Addr, func(y *streamYard) { y.pool.Limits.MaxWait = 300 * time.Millisecond })
	require.Equal(t, "200 ok", y.get(t, "/0").outcome(t))
	testutil.Receive(t, closed, "no streams are allowed")
	l := y.laneOf(t)
	testutil.Eventually(t, "the lane waits until it has been idle for an hour", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return time.Until(l.armed) > time.Minute
	})

	began := time.Now()
	assert.Contains(t, y.get(t, "/1").outcome(t), pool.ErrWaitTimeout.Error())
	assert.Less(t, time.Since(began), testutil.MaxWait/2, "sharedbackend.go, push; http2write.go, mustProve; http2tick.go, tick")
}
