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

func getting(target string) *client.Call {
	return &client.Call{Method: []byte("GET"), Target: []byte(target), Host: []byte("socket.up")}
}

func posting(target, body string) *client.Call {
	c := getting(target)
	c.Method, c.Body = []byte("POST"), []byte(body)
	return c
}

var quick = client.Timeouts{Connect: testutil.Limit, Head: testutil.Limit, Idle: testutil.Limit, Cont: time.Second, Total: testutil.Limit}

// linked connects a link to addr; it is closed when the test ends.
func linked(t testing.TB, addr string) *client.Link {
	t.Helper()
	l, err := client.DialLink(t.Context(), addr, testutil.Limit)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// readAll reads the body of r and closes it.
func readAll(r *client.Answer) (string, error) {
	defer r.Close()
	body, err := io.ReadAll(r)
	return string(body), err
}

// small is a pool with room for n links, without an evictor and with nothing
// that goes by itself.
func small(t testing.TB, n int) *pool.Pool {
	t.Helper()
	p := pool.New(pool.Limits{PerBackend: n, Total: n, Wait: testutil.Limit, Idle: time.Hour, Life: 24 * time.Hour})
	t.Cleanup(p.Close)
	return p
}
