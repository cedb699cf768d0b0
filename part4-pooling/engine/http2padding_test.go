package engine

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"socketup/part4-pooling/http2"
	"socketup/part4-pooling/internal/testutil"
)

// The frame that makes the reader leave a response to a pump may be padded. Only the race
// detector sees what this test looks for.
func TestPaddingOfTheFrameThatStartsAPump(t *testing.T) {
	t.Parallel()
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		c.Settings()
		for {
			q, ok := c.AwaitRequest()
			if !ok {
				return
			}
			c.Head(q.StreamID, false, "200")
			c.Send(testutil.HTTP2RawFrame(http2.FrameData, http2.FlagPadded, q.StreamID, "\x02abc\x00\x00"))
			c.Data(q.StreamID, true, "def")
		}
	})
	y := newStreamYard(t, s.Addr)

	for range 1000 {
		assert.Equal(t, "200 abcdef", y.get(t, "/", func(s *streamSink) { s.room = 2 }).outcome(t))
	}
}
