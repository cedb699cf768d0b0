package engine

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/internal/testutil"
)

// While the goroutine of a pump gives its stream back, the reader may just have seen the
// stream end. The job is in the queue then, and what the reader says is about the past.
func TestEndOfAStreamThatWasGivenBackIsOfNoInterest(t *testing.T) {
	t.Parallel()
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		c.Settings()
		c.AwaitRequest()
		c.Head(1, false, "200")
		c.WaitForEnd()
	})
	y := newStreamYard(t, s.Addr)
	b := y.backendFor(y.addr)
	sink := newStreamSink(postRequest("/", "body"))
	j := &sink.Job
	j.pump = newPump(j, b)
	l := &http2Lane{backend: b, streams: map[uint32]*stream{}, conn: dialConn(t, s.Addr), wake: make(chan struct{}, 1), open: 1}
	l.changed.L = &l.mu
	b.mu.Lock()
	b.opening = true // no lane may take the job
	b.queue.push(someClient, j, 10)
	j.moveTo(jobQueued)
	b.queue.pop(100)
	b.mu.Unlock()
	j.moveTo(jobWritten)
	old := &stream{lane: l, id: 1, job: j, pump: j.pump}
	j.pump.attach(old) // the reader has just removed it from l.streams

	assert.False(t, j.pump.stop(old, ErrGiveBack), "the job is in the queue again")
	l.endRemoved(old, client.ErrTruncated, perhapsProcessed)

	assert.False(t, j.pump.ended, "the job would be put into the queue twice. pump.go, end")
	b.mu.Lock()
	defer b.mu.Unlock()
	assert.Equal(t, 1, b.queue.length)
	b.queue.removeAll()
}
