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

func getting(target string) *client.Call {
	return &client.Call{Method: []byte("GET"), Target: []byte(target), Host: []byte("socket.up")}
}

var quick = client.Timeouts{Connect: limit, Head: limit, Idle: limit, Cont: time.Second, Total: limit}

// linked connects a link to addr; it is closed when the test ends.
func linked(t testing.TB, addr string) *client.Link {
	t.Helper()
	l, err := client.DialLink(t.Context(), addr, limit)
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

// asked makes a call on p and reads its answer.
func asked(p *pool.Pool, addr string, c *client.Call) (status int, body string, err error) {
	r, err := p.RoundTrip(context.Background(), addr, c, &quick)
	if err != nil {
		return 0, "", err
	}
	status = r.Status
	body, err = readAll(r)
	return status, body, err
}

// small is a pool with room for n links, without an evictor and with nothing
// that goes by itself.
func small(t testing.TB, n int) *pool.Pool {
	t.Helper()
	p := pool.New(pool.Limits{PerBackend: n, Total: n, Wait: patience(), Idle: time.Hour, Life: 24 * time.Hour})
	t.Cleanup(p.Close)
	return p
}
