//go:build exercise

package main

import (
	"io"
	"net"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The exercises of chapter 1. Run one with
//
//	go test -tags exercise -run TestExercise1 ./part1-hello
//
// It fails until you have changed the server. Solutions are in solutions/.

// Who types a request into nc ends its lines with LF alone. RFC 9112 §2.2
// allows a server to take that for the end of a line.
func TestExercise1BareLFEndsALine(t *testing.T) {
	for _, request := range []string{"GET / HTTP/1.1\nHost: x\n\n", "GET / HTTP/1.1\r\nHost: x\r\n\n", "GET / HTTP/1.1\nHost: x\n\r\n"} {
		s := sendAndRead(t, startServer(t).addr, "MAY, RFC 9112 §2.2: a single LF ends a line", "server.go, readHead and requestLine", request)

		s.wantPrefix(t, "HTTP/1.1 200 OK\r\n")
		s.wantFramed(t)
		s.wantCleanEnd(t)
	}
}

// A method that the server has never heard of is 501; one that it knows and
// does not allow here is 405, and says which are (RFC 9110 §15.6.2, §15.5.6).
func TestExercise2MethodsAreChecked(t *testing.T) {
	addr := startServer(t).addr
	const look = "server.go, statusFor"

	known := sendAndRead(t, addr, "RFC 9110 §15.5.6: 405, and Allow", look, "POST / HTTP/1.1\r\nHost: x\r\n\r\n")
	unknown := sendAndRead(t, addr, "RFC 9110 §15.6.2: 501", look, "BREW / HTTP/1.1\r\nHost: x\r\n\r\n")

	known.wantPrefix(t, "HTTP/1.1 405 Method Not Allowed\r\n")
	assert.Equal(t, "GET, HEAD", known.wantFramed(t).fields["allow"])
	unknown.wantPrefix(t, "HTTP/1.1 501 Not Implemented\r\n")
	unknown.wantFramed(t)
	sendAndRead(t, addr, "GET still works", look, get).wantPrefix(t, "HTTP/1.1 200 OK\r\n")
}

// Nothing in the server knows that its sockets are TCP. An address that begins
// with a slash is a file: unix(7).
func TestExercise3UnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hello.sock")
	startServerOn(t, path)

	c, err := net.Dial("unix", path)
	require.NoError(t, err)
	io.WriteString(c, get)

	s := transcript{sent: get, rule: "unix(7): the same calls, another address family", look: "socket.go, parseSockaddr"}
	s.readAll(c).wantPrefix(t, "HTTP/1.1 200 OK\r\n")
}
