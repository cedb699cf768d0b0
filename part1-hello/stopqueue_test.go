package main

import (
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// Closing a listener resets the connections in its queue, which the server has never seen.
func TestStopServesTheQueue(t *testing.T) {
	t.Parallel()
	const (
		queued = 5 // as many as the smallest backlog in use has room for
		hello  = "GET / HTTP/1.1\r\nHost: socket.up\r\nConnection: close\r\n\r\n"
	)
	f := startFresh(t, "")
	terminateFrozen := f.freeze(t)
	var clients []net.Conn
	for range queued {
		c := dial(t, f.addr)
		_, err := io.WriteString(c, hello)
		require.NoError(t, err)
		clients = append(clients, c)
	}

	terminateFrozen()

	for _, c := range clients {
		s := transcript{sent: hello, rule: "house rule: a stop answers the clients that had connected: empty the listener's queue before you close it", look: "drain: the part of serve that runs after a stop"}.readAll(c)
		s.wantPrefix(t, "HTTP/1.1 200 ")
		s.wantCleanEnd(t)
	}
	f.wantExit(t, "main.go, serve")
}
