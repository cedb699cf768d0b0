package engine

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sys/unix"

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
