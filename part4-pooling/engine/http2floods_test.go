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

// When a client leaves, what its backend had sent by then still arrives, in frames as small
// as the backend likes. That is no flood, and ends no connection.
func TestResponsesOfAClientThatLeftAreNoFlood(t *testing.T) {
	t.Parallel()
	const many, window = 20, 8 << 10
	reset := make(chan struct{})
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		if c.Settings(); c.Number > 1 {
			c.RespondToAll()
			return
		}
		for i := range many + 1 {
			c.AwaitRequest()
			c.Head(uint32(2*i+1), false, "200")
		}
		for range many {
			c.Await(http2.FrameRSTStream)
		}
		var late []byte // as if it had been on its way
		for i := range many {
			for range window / 64 {
				late = append(late, testutil.HTTP2RawFrame(http2.FrameData, 0, uint32(2*i+1), string(make([]byte, 64)))...)
			}
		}
		c.Send(late)
		close(reset)
		c.Data(2*many+1, true, "here I am")
		c.WaitForEnd()
	})
	y := newStreamYard(t, s.Addr, func(y *streamYard) { y.Limits.Window = window })
	var gone []*streamSink
	for range many {
		gone = append(gone, y.get(t, "/gone"))
	}
	stays := y.get(t, "/stays")
	testutil.Eventually(t, "all heads have arrived", func() bool {
		stays.mu.Lock()
		defer stays.mu.Unlock()
		return stays.heads == 1
	})

	for _, s := range gone {
		s.left.Store(true)
	}
	testutil.Receive(t, reset, "the streams are reset within a tick")

	assert.Equal(t, "200 here I am", stays.outcome(t), "http2frames.go, onData")
	assert.Equal(t, 1, s.Accepted())
}

// Nor are their heads, which the backend may have sent before it knew.
func TestHeadsOfCancelledStreamsAreNoFlood(t *testing.T) {
	t.Parallel()
	const many = 120 // more than Control
	arrived, reset := make(chan struct{}), make(chan struct{})
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		c.Settings()
		for range many + 1 {
			c.AwaitRequest()
		}
		close(arrived)
		for range many {
			c.Await(http2.FrameRSTStream)
		}
		for i := range many {
			c.Head(uint32(2*i+1), true, "200")
		}
		c.Respond(2*many+1, "here I am")
		close(reset)
		c.WaitForEnd()
	})
	y := newStreamYard(t, s.Addr, func(y *streamYard) { y.Limits.Control = 100 })
	var gone []*streamSink
	for range many {
		gone = append(gone, y.get(t, "/gone"))
	}
	stays := y.push(t, someClient, postRequest("/stays", ""))
	testutil.Receive(t, arrived, "all requests")
	for _, s := range gone {
		s.left.Store(true)
	}
	testutil.Receive(t, reset, "the streams are reset within a tick")

	assert.Equal(t, "200 here I am", stays.outcome(t), "http2frames.go, onHeaderBlock")
}
