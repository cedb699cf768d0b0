package engine

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

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
