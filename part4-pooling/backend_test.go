package main

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func getting(target string) *call {
	return &call{method: []byte("GET"), target: []byte(target), host: []byte("socket.up")}
}

func posting(target, body string) *call {
	c := getting(target)
	c.method, c.body = []byte("POST"), []byte(body)
	return c
}

var quick = timeouts{connect: limit, head: limit, idle: limit, cont: time.Second, total: limit}

// linked connects a link to addr; it is closed when the test ends.
func linked(t testing.TB, addr string) *link {
	t.Helper()
	l, err := dialLink(t.Context(), addr, limit)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// readAll reads the body of r and closes it.
func readAll(r *answer) (string, error) {
	defer r.close()
	body, err := io.ReadAll(r)
	return string(body), err
}

// asked makes a call on p and reads its answer.
func asked(p *pool, addr string, c *call) (status int, body string, err error) {
	r, err := p.roundTrip(context.Background(), addr, c, &quick)
	if err != nil {
		return 0, "", err
	}
	status = r.status
	body, err = readAll(r)
	return status, body, err
}

// small is a pool with room for n links, without an evictor and with nothing
// that goes by itself.
func small(t testing.TB, n int) *pool {
	t.Helper()
	p := newPool(poolLimits{perBackend: n, total: n, wait: patience(), idle: time.Hour, life: 24 * time.Hour})
	t.Cleanup(p.close)
	return p
}
