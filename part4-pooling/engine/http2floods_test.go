package engine

import (
	"bytes"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"

	"socketup/part4-pooling/http2"
	"socketup/part4-pooling/internal/testutil"
)

// A backend that reads nothing and sends PINGs must not fill our memory with the answers,
// although each PING is followed by a byte of a body.
func TestBackendThatDoesNotReadCannotFillTheMemory(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	begin := make(chan struct{})
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		c.Settings()
		c.AwaitRequest()
		c.Head(1, false, "200")
		<-begin
		ping := bytes.Repeat(http2.AppendPing(nil, false, pingData[:]), 100)
		ping = append(ping, testutil.HTTP2RawFrame(http2.FrameData, 0, 1, "x")...)
		for {
			n, err := c.Write(ping)
			if sent.Add(int64(n)); err != nil || sent.Load() > 256<<20 {
				return
			}
		}
	})
	y := newStreamYard(t, s.Addr, func(y *streamYard) { y.Limits.Window = http2.MaxWindow })
	sink := y.get(t, "/")
	l := y.laneOf(t)
	close(begin)
	most := 0

	testutil.Eventually(t, "the connection has ended (http2read.go, handleBuffered)", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		most = max(most, len(l.out))
		return l.err != nil
	})

	assert.Contains(t, sink.outcome(t), "ENHANCE_YOUR_CALM")
	assert.Less(t, most, 1<<20, "bytes that wait to be written")
	t.Logf("the backend could send %d MB", sent.Load()>>20)
}
