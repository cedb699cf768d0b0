package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

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
