package main

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/internal/testutil"
)

// What a leftover write deadline means to clients of a gateway: an engine gets
// the connection that carried an upload, and loses it in the middle of other
// requests.
func TestConnectionIsUsableByAnEngineAfterAnUpload(t *testing.T) {
	t.Parallel()
	s := testutil.ServeResponses(t, func(int, *http.Request) string { return testutil.Response200("ok") })
	const idle = 50 * time.Millisecond
	r, _ := startEngineGateway(t, s.Addr, func(g *gateway.Gateway) {
		g.Pool.Limits.PerBackend, g.Timeouts.Idle, g.Engines.IdleTime = 1, idle, time.Second
	})
	c := converse(t, r.addr, post("/", strings.Repeat("x", 64<<10)))
	in := bufio.NewReader(c)
	asks := func() int {
		a, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		io.Copy(io.Discard, a.Body)
		return a.StatusCode
	}
	require.Equal(t, 200, asks())

	for began := time.Now(); time.Since(began) < 4*idle; {
		io.WriteString(c, get("/"))
		require.Equal(t, 200, asks(), "house rule: a write deadline is for one write. exchange.go, Write")
	}

	assert.Equal(t, 1, s.Accepted(), "house rule: a write deadline is for one write. exchange.go, Write")
	c.Close()
}
