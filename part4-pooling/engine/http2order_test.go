package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/http2"
	"socketup/part4-pooling/internal/testutil"
)

// Requests that a backend has not processed are sent again in their order: the response to
// a later one waits for that to an earlier one, and must not hold the stream that it needs.
func TestRequestsAreSentAgainInTheirOrder(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func(c *testutil.HTTP2Conn){
		"after GOAWAY":                    func(c *testutil.HTTP2Conn) { c.GoAway(0, http2.NoError) },
		"after the end of the connection": func(c *testutil.HTTP2Conn) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			order := make(chan string, 10)
			s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
				c.Settings()
				if c.Number == 1 {
					for range 5 {
						c.AwaitRequest()
					}
					if refuse(c); name == "after the end of the connection" {
						return
					}
				}
				for {
					q, ok := c.AwaitRequest()
					if !ok {
						return
					}
					order <- q.Fields[":path"]
					c.Respond(q.StreamID, "ok")
				}
			})
			y := newStreamYard(t, s.Addr)
			var sinks []*streamSink
			for i := range 5 {
				sinks = append(sinks, y.get(t, fmt.Sprint("/", i)))
			}

			for i := range 5 {
				assert.Equal(t, "200 ok", sinks[i].outcome(t))
				assert.Equal(t, fmt.Sprint("/", i), testutil.Receive(t, order, "the request"), "%s. fairqueue.go, putBack", name)
			}
		})
	}
}

// A backend that restarts may accept a connection and end it before it carries a request. The
// next one carries it.
func TestConnectionThatEndsBeforeItsFirstRequestIsReplaced(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]func(c *testutil.HTTP2Conn){
		"before SETTINGS": func(c *testutil.HTTP2Conn) {},
		"after SETTINGS":  func(c *testutil.HTTP2Conn) { c.Settings() },
		"with GOAWAY":     func(c *testutil.HTTP2Conn) { c.Settings(); c.GoAway(0, http2.NoError) },
		"a little later":  func(c *testutil.HTTP2Conn) { c.Settings(maxStreams(0)); c.Await(http2.FrameSettings) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
				if bad := map[bool]int{true: 1, false: maxRefusals}[name == "after SETTINGS"]; c.Number <= bad {
					c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
					first(c)
					return
				}
				c.Settings()
				c.RespondToAll()
			})
			y := newStreamYard(t, s.Addr)
			get := y.get(t, "/get")
			if name != "after SETTINGS" { // then the kernel may have accepted a POST
				assert.Equal(t, "200 body", y.send(t, postRequest("/post", "body")).outcome(t))
			}

			assert.Equal(t, "200 /get", get.outcome(t), "sharedbackend.go, failQueue")
		})
	}
}

// A response of which a part has been sent cannot begin again: the client sees it truncated.
func TestCommittedResponseIsNotAskedForAgain(t *testing.T) {
	t.Parallel()
	half := make(chan struct{})
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		if c.Settings(); c.Number > 1 {
			t.Error("the request was sent again. http2pass.go, decide")
			return
		}
		c.AwaitRequest()
		c.Head(1, false, "200")
		c.Data(1, false, "half")
		<-half
		c.Reset(1, http2.InternalError)
		c.WaitForEnd()
	})
	y := newStreamYard(t, s.Addr)
	sink := y.get(t, "/")
	testutil.Eventually(t, "half of the response has arrived", func() bool { return sink.received() == 4 })
	sink.committed.Store(true)
	close(half)

	assert.Contains(t, sink.outcome(t), client.ErrTruncated.Error())
	assert.EqualValues(t, 0, y.counts.Retried.Load())
}
