package engine

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/http2"
	"socketup/part4-pooling/internal/testutil"
)

// The backend has not looked at a request that waits for 100 Continue. If it refuses the
// stream, the body goes to the next one, and all of it.
func TestBodyThatWaitsFor100ContinueGoesToTheNextStream(t *testing.T) {
	t.Parallel()
	body := make(chan string, 1)
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		c.Settings()
		for range 3 { // as often as a request may be refused
			q, _ := c.AwaitRequest()
			c.Reset(q.StreamID, http2.RefusedStream)
		}
		q, ok := c.AwaitRequest()
		if !ok {
			return
		}
		c.Head(q.StreamID, false, "100")
		got, _, _ := c.Body(q.StreamID)
		body <- got
		c.Respond(q.StreamID, "ok")
		c.WaitForEnd()
	})
	y := newStreamYard(t, s.Addr)
	y.timeouts.ContinueWait = testutil.MaxWait
	want := bytes.Repeat([]byte("0123456789"), 5000)
	q := postRequest("/", "")
	q.Stream, q.Length, q.ExpectContinue = bytes.NewReader(want), http1.Chunked, true

	sink := y.send(t, q)

	assert.Equal(t, string(want), testutil.Receive(t, body, "the body"), "http2upload.go, awaitContinue")
	assert.Equal(t, "200 ok", sink.outcome(t))
}

// If 100 Continue does not arrive in time, the body is sent without it; but not while there
// is no stream to send it on: what is read then is lost.
func TestBodyIsNotReadForAStreamThatHasEnded(t *testing.T) {
	t.Parallel()
	for _, expect := range []bool{true, false} {
		body := strings.NewReader("body")
		q := postRequest("/", "")
		q.Stream, q.Length, q.ExpectContinue = body, http1.Chunked, expect
		u := newUpload(&Job{Request: q}, &client.Timeouts{ContinueWait: time.Millisecond})

		u.send(&stream{lane: &http2Lane{}, id: 1}) // which is not one of the lane's streams

		assert.Equal(t, 4, body.Len(), "bytes that are left. http2upload.go, send")
		assert.True(t, u.repeatable(), "the request may be sent again")
	}
}

// A body of which a piece has been read cannot be sent again, whatever the backend says: its
// beginning is lost.
func TestBodyThatHasBeenReadIsNotSentAgain(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(c *testutil.HTTP2Conn){
		"REFUSED_STREAM": func(c *testutil.HTTP2Conn) { c.Reset(1, http2.RefusedStream) },
		"GOAWAY":         func(c *testutil.HTTP2Conn) { c.GoAway(0, http2.NoError) },
		"the end":        func(c *testutil.HTTP2Conn) { c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
				if c.Settings(); c.Number == 1 {
					c.AwaitRequest()
					c.Await(http2.FrameData)
					end(c)
				}
				for {
					q, ok := c.AwaitRequest()
					if !ok {
						return
					}
					t.Error("the request was sent again. http2upload.go, repeatable")
					c.Respond(q.StreamID, "again")
				}
			})
			y := newStreamYard(t, s.Addr)
			q := getRequest("/")
			q.Method, q.Stream, q.Length = []byte("PUT"), testutil.Zeros{}, http1.Chunked

			assert.Contains(t, y.send(t, q).outcome(t), client.ErrEnded.Error())
		})
	}
}

// 100 Continue may arrive before the upload has seen its stream, because it still waits for
// that of a stream that was refused.
func TestContinueIsForTheStreamThatIsNext(t *testing.T) {
	t.Parallel()
	for range 100 { // select chooses at random
		q := postRequest("/", "body")
		q.ExpectContinue = true
		u := newUpload(&Job{Request: q}, &client.Timeouts{ContinueWait: testutil.MaxWait})
		refused, next := &stream{id: 1}, &stream{id: 3}
		u.beginOn(next)
		u.proceed()

		require.Same(t, next, u.awaitContinue(refused), "http2upload.go, awaitContinue")
	}
}
