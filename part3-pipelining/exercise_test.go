//go:build exercise

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part3-pipelining/server"
)

// The exercises of chapter 3. Run one with
//
//	go test -tags exercise -run TestExercise1 ./part3-pipelining
//
// It fails until you have changed the server. Solutions are in solutions/.

// A route of your own: GET and HEAD, and 405 for other methods.
func TestExercise1TimeIsARoute(t *testing.T) {
	addr := startServer(t).addr
	const rule, look = "house rule: GET /time returns the time in RFC 3339 format and a newline", "routes.go, routes"

	s := sendAndRead(t, addr, rule, look, get("/time")+post("/time", "")+get("/", closeField))

	all := s.parseAll(t, "GET", "POST", "GET")
	require.Equal(t, "200 OK", all[0].status)
	at, err := time.Parse(time.RFC3339, strings.TrimSuffix(all[0].body, "\n"))
	require.NoError(t, err)
	assert.WithinDuration(t, time.Now(), at, 10*time.Second)
	assert.Equal(t, "405 Method Not Allowed", all[1].status)
	assert.Equal(t, "GET, HEAD, OPTIONS", all[1].fields["allow"])
}

// TRACE returns the request itself, as message/http, without the fields that a
// script in a browser should not see (RFC 9110 §9.3.8).
func TestExercise2TraceAnswersWithTheRequest(t *testing.T) {
	addr := startServer(t).addr
	request := "TRACE /any/path?q HTTP/1.1\r\nHost: socket.up\r\nAuthorization: Basic secret\r\nX-Way: via a, via b\r\nCookie: secret\r\n\r\n"

	s := sendAndRead(t, addr, "RFC 9110 §9.3.8: TRACE is echoed as message/http, without credentials", "routes.go, dispatch", request+get("/", closeField))

	all := s.parseAll(t, "TRACE", "GET")
	require.Equal(t, "200 OK", all[0].status)
	assert.Equal(t, "message/http", all[0].fields["content-type"])
	assert.Equal(t, "TRACE /any/path?q HTTP/1.1\r\nHost: socket.up\r\nX-Way: via a, via b\r\n\r\n", all[0].body)
}

// A client that keeps a connection wants to know for how long the server will.
// Part 4's pool reads this field, and so do Apache's client and Python's.
func TestExercise3ServerSaysHowLongItKeepsAConnection(t *testing.T) {
	addr := startServer(t, func(s *server.Server) { s.Limits.IdleTime = 42 * time.Second }).addr

	s := sendAndRead(t, addr, "house rule: Keep-Alive: timeout=SECONDS, unless the connection is closed", "response.go, appendHead", get("/")+get("/", closeField))

	all := s.parseAll(t, "GET", "GET")
	assert.Equal(t, "timeout=42", all[0].fields["keep-alive"])
	assert.NotContains(t, all[1].fields, "keep-alive", "the last response on a connection has no Keep-Alive")
}
