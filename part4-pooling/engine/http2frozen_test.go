package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"socketup/part4-pooling/internal/testutil"
)

// After a pause of this process the responses that have arrived meanwhile are not late.
func TestResponsesThatArrivedDuringAPauseAreNotLate(t *testing.T) {
	t.Parallel()
	const many = 100
	asked, answered, sent := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		c.Settings()
		for range many {
			c.AwaitRequest()
		}
		close(asked)
		<-answered
		for i := range uint32(many) {
			c.Respond(2*i+1, string(make([]byte, 1000)))
		}
		close(sent)
		c.WaitForEnd()
	})
	y := newStreamYard(t, s.Addr)
	var sinks []*streamSink
	for i := range many {
		sinks = append(sinks, y.get(t, fmt.Sprint("/", i)))
	}
	testutil.Receive(t, asked, "all requests")
	l := y.laneOf(t)

	l.mu.Lock() // the reader waits for it at the next tick, as if the process was stopped
	for _, s := range l.streams {
		s.since = time.Now().Add(-2 * testutil.MaxWait)
	}
	l.armed = time.Now().Add(-time.Minute)
	l.conn.SetReadDeadline(l.armed)
	close(answered)
	testutil.Receive(t, sent, "all responses")
	l.mu.Unlock()

	for _, s := range sinks {
		assert.Contains(t, s.outcome(t), "200 ", "http2tick.go, tick")
	}
}
