package engine

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/pool"
)

func getRequest(target string) *client.Request {
	return &client.Request{Method: []byte("GET"), Target: []byte(target), Host: []byte("socket.up")}
}

func postRequest(target, body string) *client.Request {
	c := getRequest(target)
	c.Method, c.Body = []byte("POST"), []byte(body)
	return c
}

var testTimeouts = client.Timeouts{Connect: testutil.MaxWait, Head: testutil.MaxWait, Idle: testutil.MaxWait, ContinueWait: time.Second, Total: testutil.MaxWait}

// dialConn opens a connection to addr; it is closed when the test ends.
func dialConn(t testing.TB, addr string) *client.Conn {
	t.Helper()
	l, err := client.DialIP(t.Context(), addr, testutil.MaxWait)
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

// newSmallPool returns a pool of n connections without an evictor: no connection expires
// during a test.
func newSmallPool(t testing.TB, n int) *pool.Pool {
	t.Helper()
	p := pool.New(pool.Limits{PerBackend: n, Total: n, MaxWait: testutil.MaxWait, IdleTime: time.Hour, Lifetime: 24 * time.Hour})
	t.Cleanup(p.Close)
	return p
}
