package main

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Clients whose bytes do not arrive as one head and nothing else. A server that
// reads once and closes serves all other clients as well as one that does not.

// A slow machine can make this test miss a fault, but not report one that does not
// exist: the pause lets a server read a part of the head by itself.
func TestHalfARequestIsNotAnswered(t *testing.T) {
	t.Parallel()
	const pause = 100 * time.Millisecond
	addr := contract(t)
	for _, at := range []int{1, strings.Index(get, "\r\n") + 2, len(get) - 2} {
		c := dial(t, addr)
		s := transcript{sent: get[:at], rule: "MUST, RFC 9112 §2.1 and §2.2: a head ends at an empty line; a read may return any part of it, read(2)", look: "server.go, readHead"}
		_, err := io.WriteString(c, get[:at])
		require.NoError(t, err)

		c.SetReadDeadline(time.Now().Add(pause))
		early := make([]byte, 1)
		n, err := c.Read(early)

		if !errors.Is(err, os.ErrDeadlineExceeded) {
			s.got = string(early[:n])
			s.fail(t, 0, "a request that is not complete is answered, or its connection closed")
		}
		io.WriteString(c, get[at:])
		s.sent = get
		s = s.readAll(c)
		s.wantPrefix(t, "HTTP/1.1 200 ")
		s.wantFramed(t)
		s.wantCleanEnd(t)
	}
}

// The body arrives with the head, and is longer than the head may be: a server
// that reads only heads has bytes unread when it closes.
func TestRequestWithABodySeesNoReset(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("a", 32<<10)
	s := sendAndRead(t, contract(t), "house rule: read on before you close; close(2) with bytes unread sends RST, tcp_close() in net/ipv4/tcp.c", "server.go, lingerClose",
		"POST / HTTP/1.1\r\nHost: socket.up\r\nConnection: close\r\nContent-Length: 32768\r\n\r\n"+body)

	s.wantPrefix(t, "HTTP/1.1 ")
	s.wantFramed(t)
	s.wantCleanEnd(t)
}
