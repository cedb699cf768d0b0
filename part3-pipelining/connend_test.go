package main

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part3-pipelining/server"
)

// A handler that returns after its connection was closed must not write to it:
// the descriptor may belong to another connection.
func TestLateHandlerDoesNotWriteToAnotherConnection(t *testing.T) {
	closed := make(chan struct{})
	r := startServer(t, func(s *server.Server) { s.Limits.HandlerTime, s.Limits.LingerTime = testTimeout, testTimeout }, withHandler(func(w *server.Response, r *server.Request) {
		if string(r.Path) == "/late" {
			<-closed
			r.Body.ReadAll()
			return
		}
		w.WriteString("mine")
	}))
	before := converse(t, r.addr, "POST /late HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	io.Copy(io.Discard, before) // 503
	before.Close()
	eventually(t, "the connection is closed", func() bool { return r.Connections() == 0 })
	c := converse(t, r.addr, get("/")) // most likely reuses its descriptor
	requireRead(t, c, transcript{}, "HTTP/1.1 200 ")

	close(closed)
	io.WriteString(c, get("/", closeField))

	s := transcript{sent: get("/") + get("/", closeField), rule: "house rule: no client gets another client's response", look: "handlerio.go, readMoreBody"}.readAll(c)
	assert.NotContains(t, s.got, "100 Continue", "what a late handler wrote was sent to another client (handlerio.go, readMoreBody)")
}

// A connection whose responses are all written, but whose handlers hang, has no
// slot for another request. It counts as idle and is closed as such, and a stop
// does not wait for it.
func TestConnectionWithOnlyHangingHandlersIsClosed(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	r := startServer(t, func(s *server.Server) {
		s.Limits.Pipeline, s.Limits.HandlerTime, s.Limits.IdleTime, s.Limits.LingerTime = 2, testTimeout, testTimeout, testTimeout
	}, withHandler(func(*server.Response, *server.Request) { <-release }))
	c := converse(t, r.addr, strings.Repeat(get("/"), 3))

	s := transcript{sent: "3 requests", rule: "house rule: every connection ends", look: "deadlines.go, checkDeadlines"}.readAll(c)

	assert.Equal(t, 2, strings.Count(s.got, "HTTP/1.1 503 "))
	eventually(t, "the connection is unregistered (deadlines.go, checkDeadlines)", func() bool { return r.Connections() == 0 })
}

// With -race: a slot's deadline passes while its handler is still setting up
// the response.
func TestExpiredHandlerMayStillBeWriting(t *testing.T) {
	r := startServer(t, func(s *server.Server) { s.Limits.HandlerTime, s.Limits.LingerTime = testTimeout, testTimeout }, withHandler(func(w *server.Response, r *server.Request) {
		<-w.Done()
		w.WriteString("x")
		w.Flush()
	}))
	for _, sent := range []string{get("/", closeField), post("/", "body", closeField), "GET / HTTP/1.0\r\n\r\n"} {
		s := sendAndRead(t, r.addr, "house rule: every slot has a deadline", "deadlines.go, expire", sent)
		s.wantPrefix(t, "HTTP/1.1 503 ")
	}
}

// A client that has the last response may still be sending. If the server
// closed immediately, the kernel would answer those bytes with a reset, and a
// reset discards what the client has not read yet (part 1).
func TestConnectionLingersUntilItsClientCloses(t *testing.T) {
	r := startServer(t, func(s *server.Server) { s.Limits.LingerTime = maxWait })
	s := transcript{sent: get("/", closeField), rule: "RFC 9112 §9.6: close in stages", look: "transport.go, discard"}
	c := converse(t, r.addr, s.sent)
	answer, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Contains(t, string(answer), "HTTP/1.1 200 ")

	for range 3 {
		_, err := io.WriteString(c, "and another thing")
		require.NoError(t, err, s.rule)
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF, "what is sent after the last response is read, and not answered with a reset (transport.go, discard)")
	}
	assert.Equal(t, 1, r.Connections(), "the server waits for its client to close")
	c.Close()
	eventually(t, "the connection is unregistered", func() bool { return r.Connections() == 0 })
}

// A client may close its side while an upload uses the connection exclusively.
// The loop gets that event once and must remember it.
func TestFINDuringAnUploadIsNotForgotten(t *testing.T) {
	began, release := make(chan struct{}), make(chan struct{})
	r := startServer(t, withHandler(func(w *server.Response, r *server.Request) {
		if r.Body != nil {
			close(began)
			<-release
			r.Body.ReadAll()
		}
		w.WriteString("done")
	}))
	body := strings.Repeat("b", 3*32<<10)
	c := converse(t, r.addr, strings.TrimSuffix(post("/", body), body))
	receive(t, began, "the upload begins")
	io.WriteString(c, body+get("/")) // the GET after the body is not read with it
	require.NoError(t, c.CloseWrite())
	close(release)

	s := transcript{sent: "an upload, a request, and FIN", rule: "RFC 9112 §9.6: a half-closed connection still carries responses, and is closed after them", look: "conn.go, onEvent"}.readAll(c)

	assert.Len(t, s.parseAll(t, "POST", "GET"), 2)
	s.wantCleanEnd(t)
}
