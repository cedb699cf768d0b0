package main

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/pool"
)

func getRequest(target string) *client.Request {
	return &client.Request{Method: []byte("GET"), Target: []byte(target), Host: []byte("socket.up")}
}

var testTimeouts = client.Timeouts{Connect: maxWait, Head: maxWait, Idle: maxWait, ContinueWait: time.Second, Total: maxWait}

// dialConn opens a client connection to addr; it is closed when the test ends.
func dialConn(t testing.TB, addr string) *client.Conn {
	t.Helper()
	l, err := client.DialIP(t.Context(), addr, maxWait)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// readAll reads the body of r and closes it.
func readAll(r *client.Response) (string, error) {
	defer r.Close()
	body, err := io.ReadAll(r)
	return string(body), err
}

// poolRoundTrip sends a request through p and reads the response.
func poolRoundTrip(p *pool.Pool, addr string, c *client.Request) (status int, body string, err error) {
	r, err := p.RoundTrip(context.Background(), addr, c, &testTimeouts)
	if err != nil {
		return 0, "", err
	}
	status = r.Status
	body, err = readAll(r)
	return status, body, err
}

// newSmallPool returns a pool of up to n connections without an evictor, in which no
// connection expires during a test, and of which one client may have all.
func newSmallPool(t testing.TB, n int) *pool.Pool {
	t.Helper()
	p := pool.New(pool.Limits{PerBackend: n, Total: n, OneClient: true, MaxWait: patience(), IdleTime: time.Hour, Lifetime: 24 * time.Hour})
	t.Cleanup(p.Close)
	return p
}
