package engine

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sys/unix"

	"socketup/part4-pooling/http2"
	"socketup/part4-pooling/internal/testutil"
)

// The kernel may tell of the end of a connection when we write, before it does when we read.
func TestConnectionThatEndsDuringAWriteIsAnEnd(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		c.Settings()
		if c.Number > 1 {
			c.RespondToAll()
			return
		}
		c.AwaitRequest()
		close(arrived)
		<-t.Context().Done()
	})
	y := newStreamYard(t, s.Addr)
	first := y.get(t, "/1")
	testutil.Receive(t, arrived, "the first request")
	unix.Shutdown(y.laneOf(t).conn.Sysfd, unix.SHUT_WR)
	second := y.send(t, postRequest("/2", "body of 2"))

	assert.Equal(t, "200 /1", first.outcome(t), "a safe request is sent again. http2write.go, runWriter")
	assert.Equal(t, "200 body of 2", second.outcome(t), "so is a POST of which the kernel has accepted no byte. http2tick.go, end")
}

// What the backend sent before it closed its connection counts, although a write fails before
// the reader has come to it.
func TestResponseAheadOfTheEndIsReadAfterAFailedWrite(t *testing.T) {
	t.Parallel()
	reached, release, closed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		if c.Settings(); c.Number > 1 {
			c.RespondToAll()
			return
		}
		c.AwaitRequest()
		c.AwaitRequest()
		c.Respond(1, "read")
		<-reached
		c.Respond(3, "not read yet")
		c.GoAway(3, http2.NoError)
		c.Close()
		close(closed)
	})
	y := newStreamYard(t, s.Addr)
	first := y.get(t, "/1", func(s *streamSink) {
		s.onData = func([]byte) error { // the reader waits here
			close(reached)
			<-release
			return nil
		}
	})
	post := y.push(t, someClient, postRequest("/post", ""))
	l := y.laneOf(t)
	testutil.Receive(t, closed, "the end of the connection")
	testutil.Eventually(t, "a write has failed", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.enqueue(http2.AppendPing(l.out, true, pingData[:]))
		l.wakeUp()
		return l.err != nil
	})
	close(release)

	assert.Equal(t, "200 read", first.outcome(t))
	assert.Equal(t, "200 not read yet", post.outcome(t), "http2write.go, runWriter")
}
