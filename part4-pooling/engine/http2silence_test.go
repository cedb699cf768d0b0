package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"socketup/part4-pooling/http2"
	"socketup/part4-pooling/internal/testutil"
)

// A backend that dies in the middle of a frame sends no more bytes. What has arrived of the
// frame proves nothing, however often we look at it.
func TestHalfAFrameIsNoSignOfLife(t *testing.T) {
	t.Parallel()
	half := make(chan struct{})
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		c.Settings()
		if c.Number > 1 {
			c.RespondToAll()
			return
		}
		q, _ := c.AwaitRequest()
		c.Send(testutil.HTTP2RawFrame(http2.FrameHeaders, http2.FlagEndHeaders, q.StreamID, "\x88")[:5])
		close(half)
		<-t.Context().Done()
	})
	y := newStreamYard(t, s.Addr)
	sink := y.get(t, "/a")
	l := y.laneOf(t)
	testutil.Receive(t, half, "half a frame has been sent")
	for range 2 { // the first time it may just arrive
		time.Sleep(2 * tickInterval) // let the reader look at it: this is the input, not a wait
		l.silentFor(y.Limits.Ping)
	}
	l.missPing(t, y.Limits.Ping)

	assert.Equal(t, "200 /a", sink.outcome(t), "the backend does not answer the PING, so the request is sent again on another connection. http2read.go, handleBuffered")
}
