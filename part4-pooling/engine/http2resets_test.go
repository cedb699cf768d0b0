package engine

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"

	"socketup/part4-pooling/http2"
	"socketup/part4-pooling/internal/testutil"
)

// A backend ends the connection of a client that resets too many streams. Those of our clients
// that leave must not bring that about for the others.
func TestConnectionIsReplacedBeforeTooManyStreamsAreReset(t *testing.T) {
	t.Parallel()
	const atOnce, rounds = 200, 6
	var arrived, most atomic.Int64
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		c.Settings()
		for resets := int64(0); ; {
			f, ok := c.Next()
			switch {
			case !ok:
				return
			case f.Type == http2.FrameRSTStream:
				resets++
				most.Store(max(most.Load(), resets))
			case f.Type == http2.FrameHeaders && f.Fields[":path"] == "/stays":
				c.Respond(f.StreamID, "ok")
			case f.Type == http2.FrameHeaders:
				arrived.Add(1)
			}
		}
	})
	y := newStreamYard(t, s.Addr)
	for round := range int64(rounds) {
		var leaving []*streamSink
		for range atOnce {
			leaving = append(leaving, y.get(t, "/leaves"))
		}
		testutil.Eventually(t, "the backend has all requests", func() bool { return arrived.Load() == atOnce*(round+1) })
		for _, s := range leaving {
			s.left.Store(true)
		}
		testutil.Eventually(t, "all are reset", func() bool { return y.counts.Cancelled.Load() == uint64(atOnce*(round+1)) })
	}

	assert.Equal(t, "200 ok", y.push(t, someClient, postRequest("/stays", "")).outcome(t))
	assert.Less(t, most.Load(), int64(1000), "nghttp2 would have ended the connection. http2write.go, isUsedUp")
	assert.LessOrEqual(t, s.Accepted(), rounds+1)
}
