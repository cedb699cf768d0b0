package main

import (
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Clients that keep a connection for as long as they may. A server that handles one
// client at a time may keep the next one waiting for maxWait. Each of them has a server
// of its own, so that the waits overlap.

// another is contract, but in a walk it is another instance of the server that is judged.
func another(t testing.TB, change ...func(*server)) string {
	t.Helper()
	if os.Getenv("SERVER") != "" {
		return startFresh(t, "").addr
	}
	return startServer(t, change...).addr
}

// wantNext fails the test unless the response on c begins before the time until, and is
// 200. It does not wait for the end of the connection.
func (s transcript) wantNext(t testing.TB, c *net.TCPConn, until time.Time) {
	t.Helper()
	const want = "HTTP/1.1 200 "
	c.SetReadDeadline(until)
	got := make([]byte, len(want))
	n, err := io.ReadFull(c, got)
	if s.got = string(got[:n]); n == 0 {
		s.fail(t, 0, "another client is not done, and this one has no response after %v: %v", maxWait, err)
	}
	s.wantPrefix(t, want)
}

// drip sends byte after byte on c, at a pace that no limit for one read notices, until the
// server closes the connection.
func drip(c *net.TCPConn) {
	c.SetDeadline(time.Now().Add(3 * maxWait))
	go func() { // ends with the response, or with the connection
		io.Copy(io.Discard, c)
		c.Close()
	}()
	go keepSending(c) // ends with the connection
}

// keepSending sends a byte every now and then until c is closed.
func keepSending(c *net.TCPConn) {
	for {
		if _, err := io.WriteString(c, "a"); err != nil {
			return
		}
		time.Sleep(300 * time.Millisecond) // the client's pace
	}
}

func TestSilentClientThatStaysIsNotWaitedForForever(t *testing.T) {
	t.Parallel()
	const rule, look = "house rule: a head has five seconds, then it is the next client's turn", "server.go, readHead"
	short := func(s *server) { s.headTimeout = time.Second }
	servers := []string{contract(t, short), another(t, short)}
	until := time.Now().Add(maxWait)
	dial(t, servers[0]) // and says nothing
	dripping := dial(t, servers[1])
	_, err := io.WriteString(dripping, "GET / HTTP/1.1\r\nDrops: ")
	require.NoError(t, err)
	drip(dripping)
	afterSilent, afterDripping := ask(t, servers[0]), ask(t, servers[1])

	transcript{sent: get, rule: rule, look: look}.wantNext(t, afterSilent, until)
	transcript{sent: get, rule: rule + ": the time is for the whole head, not for each read", look: look}.wantNext(t, afterDripping, until)
}

// ask sends a request on a new connection.
func ask(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	c := dial(t, addr)
	_, err := io.WriteString(c, get)
	require.NoError(t, err)
	return c
}

// Lingering is for a client that closes soon. One that never does is cut off, and so is
// one that does not stop sending.
func TestClientThatNeverClosesDoesNotBlockTheNext(t *testing.T) {
	t.Parallel()
	const rule, look = "house rule: lingering has a limit, then it is the next client's turn", "server.go, lingerClose"
	short := func(s *server) { s.headTimeout, s.lingerTimeout = time.Second, time.Second/2 }
	answered := transcript{sent: get, rule: "house rule: a client that does not close is answered", look: "server.go, answer"}
	servers := []string{contract(t, short), another(t, short)}
	silent, sending := ask(t, servers[0]), ask(t, servers[1])
	answered.wantNext(t, silent, time.Now().Add(maxWait))
	answered.wantNext(t, sending, time.Now().Add(maxWait))
	sending.SetDeadline(time.Now().Add(3 * maxWait))
	go keepSending(sending) // ends with the connection
	until := time.Now().Add(maxWait)
	afterSilent, afterSending := ask(t, servers[0]), ask(t, servers[1])

	transcript{sent: get, rule: rule, look: look}.wantNext(t, afterSilent, until)
	transcript{sent: get, rule: rule + ": for all of it, not for each read", look: look}.wantNext(t, afterSending, until)
}

// The client closes its sending half in the middle of a head.
func TestTruncatedHeadIsNotServed(t *testing.T) {
	t.Parallel()
	addr := contract(t)
	for _, sent := range []string{"GET / HT", "GET / HTTP/1.1\r\nHost: sock", "GET / HTTP/1.1\r\nHost: socket.up\r\n"} {
		c := dial(t, addr)
		_, err := io.WriteString(c, sent)
		require.NoError(t, err)
		require.NoError(t, c.CloseWrite())

		s := transcript{sent: sent + "FIN", rule: "house rule, RFC 9112 §8: a request whose head is incomplete is not served, and its connection closed", look: "server.go, statusFor"}.readAll(c)

		if len(s.got) > len("HTTP/1.1 ") && s.got[len("HTTP/1.1 ")] == '2' {
			s.fail(t, len("HTTP/1.1 "), "half a head is served as if it were whole")
		}
		s.wantCleanEnd(t)
	}
}
